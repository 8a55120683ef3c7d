"""One line of a chunk's item list, as the plan writes it and the client reads it."""

from typing import NotRequired, TypedDict

#: Size in bytes and modification time in ns of a file, which show that it changed.
Stamp = tuple[int, int]


class JudgedFields(TypedDict):
    """What a judge is told of an answer, beside the question; the names are those of the fields of its prompt."""

    #: Each choice on a line after its letter; empty for a question without choices.
    choices: str
    ground_truth: str
    #: The model's final words.
    answer: str


class ItemEntry(TypedDict):
    """What decides an item's request, beside the settings."""

    #: An image's path relative to the data set, the name of an item of a shard, or a question's qid.
    id: str
    #: The `Stamp` of each image's file when it was planned, in JSON a list; None where there was none. A third number
    #: follows where an earlier run did not find the file as planned: how often. A fourth is the DECODING_VERSION of
    #: `image_format.py`, for files whose pictures it may change.
    stamps: list[list[int] | None]
    #: Of a question: its text.
    question: NotRequired[str]
    #: Of a question, and of an item of a shard: its images, as `image_ref.py` writes them. Else the id is the path.
    images: NotRequired[list[str]]
    #: Of a question on one image that has the place of its image, as all have in an output folder that a version with
    #: this member began.
    by_image: NotRequired[bool]
    #: Of a question whose choices were added below its text: how many there are.
    choices: NotRequired[int]
    #: Of a question that is asked more than once by different seeds: which sample it is, from 2.
    sample: NotRequired[int]
    #: Only of an answer that is judged.
    judged: NotRequired[JudgedFields]
