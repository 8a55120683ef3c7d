r"""Image references: how a plan names an image, wherever it is, as one plain text.

An item list or a question row holds images as these texts, and the client reads them by `image_source.ImageSources`:

    images/0.png                                     a file, its path relative to the data folder
    data/test-0.parquet#group=0&row=7&column=image   a cell of a parquet or an Arrow file: row of a row group
    ...#group=0&row=7&column=images&index=2          an element of a cell that holds a list
    shards/00000.tar#offset=1536&size=789&name=0.jpg the bytes of a member of a tar
    mmbench.tsv#start=120&length=90210&column=image  a cell of a line of JSONL, CSV or TSV: the line's bytes
    data:image/png;base64,iVBOR...                   the image itself
    https://example.org/0.png                        an image that is fetched, where the configuration allows it

Who plans makes the text by `str` of a class below, also for a file: a name from a data set that could be taken for
another kind is marked there. So a container in a plan was always named by the planner, and only files have to be kept
inside the data folder. A container's path is relative to the data folder, or absolute where it is elsewhere. A column
is a name, or a path of names with dots into structs; what a cell may hold is in `image_cell.py`.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

#: Marks the path of a file that could be taken for another kind of reference.
FILE_MARK = "#file"
ARROW_SUFFIX = ".arrow"
_CONTAINER, _NAME = r"(?P<container>[^#]+)#", r"(?P<{}>[^#&]*)"
_ESCAPES = {"%": "%25", "#": "%23", "&": "%26"}
_ESCAPED, _UNESCAPED = re.compile("[%#&]"), re.compile("%(?:25|23|26)")
_ORIGINALS = {escape: original for original, escape in _ESCAPES.items()}


class ImageRef:
    """A reference to an image; `str` gives its text."""

    @staticmethod
    def parse(text: str) -> "ImageRef":
        """The reference that a text stands for; any text stands for one."""
        if UrlRef.FORM.match(text):
            return UrlRef(text)
        if "#" in text or text.startswith("data:"):
            if text.endswith(FILE_MARK):
                return FileRef(text.removesuffix(FILE_MARK))
            for kind in CONTAINED:
                if found := kind.FORM.fullmatch(text):
                    return kind.of(found)
            if DataRef.FORM.match(text):
                return DataRef(text)
        return FileRef(text)


@dataclass(frozen=True, slots=True)
class FileRef(ImageRef):
    """A file."""

    #: Relative to the data folder; may be absolute or lead out of it, which `image_path.locate` refuses.
    path: str

    def __str__(self) -> str:
        plain = "#" not in self.path and not self.path.startswith("data:")
        if plain or (not self.path.endswith(FILE_MARK) and isinstance(ImageRef.parse(self.path), FileRef)):
            return self.path
        return self.path + FILE_MARK


@dataclass(frozen=True, slots=True)
class CellRef(ImageRef):
    """A cell of a parquet file, or of a file of Arrow record batches."""

    container: str
    #: The row group, or the record batch; the first is 0.
    group: int
    #: The row within the group; the first is 0.
    row: int
    column: str
    #: Which element, where the cell holds a list.
    index: int | None = None
    FORM: ClassVar = re.compile(
        rf"{_CONTAINER}group=(?P<group>\d+)&row=(?P<row>\d+)&column={_NAME.format('column')}(?:&index=(?P<index>\d+))?"
    )

    @property
    def is_decoded_in_order(self) -> bool:
        """Whether the cell can only be had by decoding the rows before it, unlike those of an Arrow file."""
        return not self.container.endswith(ARROW_SUFFIX)

    @classmethod
    def of(cls, found: re.Match[str]) -> Self:
        index = None if found["index"] is None else int(found["index"])
        return cls(
            _original(found["container"]), int(found["group"]), int(found["row"]), _original(found["column"]), index
        )

    def __str__(self) -> str:
        index = "" if self.index is None else f"&index={self.index}"
        container, column = _escaped(self.container), _escaped(self.column)
        return f"{container}#group={self.group}&row={self.row}&column={column}{index}"


@dataclass(frozen=True, slots=True)
class MemberRef(ImageRef):
    """A member of a tar that is not compressed."""

    container: str
    #: Where its bytes begin, and how many they are.
    offset: int
    size: int
    #: Its name in the tar, for messages.
    name: str
    FORM: ClassVar = re.compile(rf"{_CONTAINER}offset=(?P<offset>\d+)&size=(?P<size>\d+)&name={_NAME.format('name')}")

    @classmethod
    def of(cls, found: re.Match[str]) -> Self:
        return cls(_original(found["container"]), int(found["offset"]), int(found["size"]), _original(found["name"]))

    def __str__(self) -> str:
        return f"{_escaped(self.container)}#offset={self.offset}&size={self.size}&name={_escaped(self.name)}"


@dataclass(frozen=True, slots=True)
class LineRef(ImageRef):
    """A cell of a record of a text file: JSONL, CSV or TSV by its suffix."""

    container: str
    #: Where the record begins, and its length, both in bytes.
    start: int
    length: int
    #: JSONL: the column. CSV and TSV: its number in the header, the first is 0.
    column: str
    #: Which element, where the cell holds a list.
    index: int | None = None
    FORM: ClassVar = re.compile(
        rf"{_CONTAINER}start=(?P<start>\d+)&length=(?P<length>\d+)&column={_NAME.format('column')}"
        r"(?:&index=(?P<index>\d+))?"
    )

    @classmethod
    def of(cls, found: re.Match[str]) -> Self:
        index = None if found["index"] is None else int(found["index"])
        return cls(
            _original(found["container"]), int(found["start"]), int(found["length"]), _original(found["column"]), index
        )

    def __str__(self) -> str:
        index = "" if self.index is None else f"&index={self.index}"
        container, column = _escaped(self.container), _escaped(self.column)
        return f"{container}#start={self.start}&length={self.length}&column={column}{index}"


@dataclass(frozen=True, slots=True)
class DataRef(ImageRef):
    """An image that stands in the plan itself, for the few that have no place of their own in a file."""

    #: A data URI.
    uri: str
    FORM: ClassVar = re.compile("data:[^,]*,")

    def __str__(self) -> str:
        return self.uri


@dataclass(frozen=True, slots=True)
class UrlRef(ImageRef):
    """An image at an address."""

    url: str
    FORM: ClassVar = re.compile("https?://", re.IGNORECASE)

    def __str__(self) -> str:
        return self.url


#: The references into a container, which has a stamp for all its images.
ContainedRef = CellRef | MemberRef | LineRef
CONTAINED = (CellRef, MemberRef, LineRef)


def _escaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], text)


def _original(text: str) -> str:
    return _UNESCAPED.sub(lambda found: _ORIGINALS[found[0]], text)
