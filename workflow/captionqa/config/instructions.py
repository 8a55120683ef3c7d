"""Instructions: the sentence that is added to each question, by its type."""

from collections.abc import Mapping
from typing import Literal

QuestionType = Literal["multiple_choice", "open_ended", "yes_no"]
#: What `qa.instruction` calls two of them.
_SHORT: Mapping[str, QuestionType] = {"choices": "multiple_choice", "open": "open_ended"}


def instructions_by_type(
    instruction: str | Mapping[str, str] | None, instructions: Mapping[str, str] | None = None
) -> dict[str, str]:
    """{type of question: its instruction}, of `qa.instructions` or of a `qa.instruction` with two; else none."""
    if instructions:
        return dict(instructions)
    return {_SHORT[kind]: text for kind, text in instruction.items()} if isinstance(instruction, Mapping) else {}


def instruction_of(question_type: QuestionType, has_choices: bool, instructions: Mapping[str, str]) -> str | None:
    """The instruction for a type of question; for yes/no without one that of a question with or without choices."""
    if question_type == "yes_no" and question_type not in instructions:
        question_type = "multiple_choice" if has_choices else "open_ended"
    return instructions.get(question_type)
