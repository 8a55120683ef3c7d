"""Questions as the CaptionQA protocol asks them: options shuffled by one generator over all of them, and their text."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from captionqa.dataset.cell import CellError
from captionqa.dataset.choice_order import random_order
from captionqa.dataset.question_repeats import in_order
from captionqa.grading.captionqa_rules import CANNOT_ANSWER, is_yes_no

#: Of the published evaluation.
SEED = 0


@dataclass(frozen=True)
class AskedQuestion:
    """A question with its options in the order in which the model sees them."""

    text: str
    options: list[str]
    #: For each option the number of its choice in the file; the highest is that of "cannot answer", if it was added.
    permutation: list[int]


class Shuffler:
    """Shuffles the options of questions in their order in the file; each shuffle depends on all before it."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)

    def asked(self, question: str, choices: Sequence[str], answer: Any) -> AskedQuestion:
        """The question as it is asked; the choices are the texts as the file has them.

        Raises:
            CellError: the published evaluation leaves the question out, and shuffles nothing for it.
        """
        if not 2 <= len(choices) < len(ascii_uppercase):
            raise CellError(f"holds {len(choices)} choices, of which the CaptionQA protocol asks 2 to 25")
        if not isinstance(answer, str) or answer.strip() not in {choice.strip() for choice in choices}:
            raise CellError("holds no text that is the ground truth, so the CaptionQA protocol leaves the question out")
        options = [*choices] if is_yes_no(question, choices) else [*choices, CANNOT_ANSWER]
        permutation = random_order(len(options), self._random)
        shuffled = in_order(options, permutation)
        return AskedQuestion(question_below_caption(question, shuffled), shuffled, permutation)


def question_below_caption(question: str, options: Sequence[str]) -> str:
    """The prompt below the caption, which `config.captionqa_protocol.CAPTION_TEMPLATE` puts above it."""
    lines = "\n".join(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
    return f"Question:\n{question}\n\nOptions:\n{lines}\n\nAnswer:"
