"""The type of a question: multiple choice, open-ended or yes/no, as its row says, or by its choices."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from captionqa.config.instructions import QuestionType
from captionqa.grading.captionqa_rules import has_yes_and_no

#: What data sets call each type, without blanks and signs.
_NAMES: Mapping[str, QuestionType] = {
    **dict.fromkeys(
        ("multiplechoice", "multichoice", "choice", "choices", "mc", "mcq", "singlechoice"), "multiple_choice"
    ),
    **dict.fromkeys(("open", "openended", "freeform", "freetext", "shortanswer", "fillin"), "open_ended"),
    **dict.fromkeys(("yesno", "yesorno", "boolean", "bool", "binary", "truefalse"), "yes_no"),
}
_SIGNS = re.compile(r"[\W_]+")


def question_type(named: Any, choices: Sequence[str]) -> QuestionType:
    """The type that a cell names, or else that of a question with these choices.

    A question without choices is open-ended: whether its answer is yes or no is not told from the answer, which would
    give it away.
    """
    if isinstance(named, str) and (known := _NAMES.get(_SIGNS.sub("", named.lower()))):
        return known
    if not choices:
        return "open_ended"
    return "yes_no" if len(choices) == 2 and has_yes_and_no(choices) else "multiple_choice"
