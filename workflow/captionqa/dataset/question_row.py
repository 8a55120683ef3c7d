"""The rows of a question file as a plan keeps them: each can be asked, or says what is wrong with it."""

from typing import NotRequired, TypedDict, final

from captionqa.dataset.question_repeats import RowRepeats

UNCATEGORIZED = "uncategorized"
UNKNOWN_SOURCE = "unknown"


@final
class QuestionRow(TypedDict):
    """A row that can be asked."""

    #: The qid as text.
    id: str
    #: The text, with the choices inside or below and `<image>` marks as they are.
    question: str
    #: The ground truth as the file has it, such as `\\boxed{A}`, or several acceptable answers; None where the file
    #: keeps it secret, so that the answer is not graded.
    answer: str | list[str] | None
    #: References of `image_ref.py` in their order: paths relative to qa.dataset_path, cells with bytes.
    images: list[str]
    #: `UNCATEGORIZED` where the file has none.
    category: str
    #: `UNKNOWN_SOURCE` where the file has none.
    source: str
    #: Only where the file has them in columns of their own: the texts of the choices.
    choices: NotRequired[list[str]]
    #: Only with `choices`: whether they were written below the question, whose own text does not list them.
    choices_added: NotRequired[bool]
    #: Only with `qa.protocol: captionqa`: for each of `choices` its number in the file, the highest for the option that
    #: was added, if one was.
    permutation: NotRequired[list[int]]
    #: Only where it is asked more than once.
    repeats: NotRequired[RowRepeats]


@final
class InvalidRow(TypedDict):
    """A row that cannot be asked; its fields are those of a `QuestionRow`, and None or [] where the cell is wrong."""

    id: str
    question: str | None
    answer: str | list[str] | None
    images: list[str]
    category: str
    source: str
    #: One sentence that says what is wrong with which columns.
    invalid: str
