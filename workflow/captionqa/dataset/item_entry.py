"""One line of a chunk's item list, as the plan writes it and the client reads it."""

from typing import NotRequired, TypedDict


class ItemEntry(TypedDict):
    """What decides an item's request, beside the settings."""

    #: An image's path relative to the data set, or a question's qid.
    id: str
    #: [size in bytes, time of change in ns] of each image file when it was planned; None where there was no file. A
    #: third number where an earlier run did not find the file as planned: how often.
    stamps: list[list[int] | None]
    #: Of a question: its text.
    question: NotRequired[str]
    #: Of a question: the paths of its images, relative to the data set.
    images: NotRequired[list[str]]
