"""An item entry: one line of a chunk's item list, with all that decides the item's request beside the settings."""

from typing import NotRequired, TypedDict


class ItemEntry(TypedDict):
    """An image to caption, or a question; only a question has `question` and `images`."""

    #: The image's path relative to the data set, or the question's qid.
    id: str
    question: NotRequired[str]
    #: Paths relative to the data set, in the order of the question.
    images: NotRequired[list[str]]
    #: For each image its size in bytes and its modification time in ns; null where there was no file.
    stamps: list[list[int] | None]
