"""Image sources: an image that a plan names is found in the data set and read, whatever it is stored in.

    sources = ImageSources(data_root, allowed_roots)
    source = sources.find(text)          # text: see image_ref.py; raises ItemFailure, such as missing_image
    data, stamp = source.read()          # raises ItemFailure, such as unreadable_image
    source.file()                        # the path of a file, which a server may read itself; else None

A stamp is that of the file which holds the image: of a container, for all its images. `stamp_of` takes one for a plan.
"""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from captionqa.config.config import Config, Task
from captionqa.config.data_root import data_root
from captionqa.dataset.file_extents import FileExtents
from captionqa.dataset.image_cell import cell_image, data_uri_bytes
from captionqa.dataset.image_file import read_failures, read_stamped
from captionqa.dataset.image_path import locate
from captionqa.dataset.image_ref import CellRef, ContainedRef, DataRef, FileRef, ImageRef, LineRef, MemberRef, UrlRef
from captionqa.dataset.item_entry import Stamp
from captionqa.dataset.text_line import delimiter_of, line_value
from captionqa.errors import ItemFailure, Reason

if TYPE_CHECKING:
    from captionqa.dataset.row_groups import RowGroups
    from captionqa.dataset.url_image import UrlImages


class ImageSource(ABC):
    """One image of a data set."""

    def file(self) -> Path | None:
        """Its real path, where it is a file of its own."""
        return None

    def stamp(self) -> Stamp | None:
        """The stamp of its file as it is now; None where the file is gone, or does not tell a change of the image."""
        return None

    def is_named(self) -> bool:
        """Whether another name means another image; False for a place in a container, which may move."""
        return self.file() is not None

    @abstractmethod
    def described(self) -> str:
        """Where it is, for a message."""

    @abstractmethod
    def read(self) -> tuple[bytes, Stamp]:
        """The image's bytes, and the stamp of the file that they were read from, as that is after they were read.

        Raises:
            ItemFailure: missing_image, unreadable_image, or path_outside_dataset for a cell that names such a file.
        """


class ImageSources:
    """The images of a data set; safe to share between threads. Containers that were read stay open for the next."""

    def __init__(self, dataset: Path, allowed_roots: Sequence[Path] = (), urls: "UrlImages | None" = None):
        """`dataset` is the data folder, `allowed_roots` other folders that files may be in; all are resolved.

        `urls` fetches what is at addresses; None where nothing may be fetched.
        """
        self.urls = urls
        self.dataset = dataset
        self.allowed_roots = allowed_roots
        self.extents = FileExtents()
        #: Guards `_row_groups`, which are made for the first cell.
        self._lock = threading.Lock()
        self._row_groups: RowGroups | None = None

    @classmethod
    def of_task(cls, config: Config, task: Task, fetch: bool = True) -> Self:
        """Those of a configured task; only with `fetch` may addresses be fetched, where the task allows that."""
        urls = None
        if fetch and config.sections.allows_urls(task):
            from captionqa.dataset.url_image import UrlImages  # as for `row_groups`

            urls = UrlImages()
        roots = [Path(root).resolve() for root in config.client.images.allowed_roots]
        return cls(data_root(config.section(task).data_path), roots, urls)

    @property
    def row_groups(self) -> "RowGroups":
        """The groups of rows that cells are read from."""
        from captionqa.dataset.row_groups import RowGroups  # felt at the start of a chunk job, and most have no cells

        with self._lock:
            if self._row_groups is None:
                self._row_groups = RowGroups()
            return self._row_groups

    def find(self, text: str) -> ImageSource:
        """An image by its reference; raises ItemFailure as `image_path.locate`, and missing_image for a container."""
        ref = ImageRef.parse(text)
        if isinstance(ref, FileRef):
            return self.find_file(ref.path)
        if isinstance(ref, DataRef):
            return _DataSource(ref)
        if isinstance(ref, UrlRef):
            if self.urls is None:
                raise ItemFailure(Reason.MISSING_IMAGE, f"{ref.url[:80]!r} is an address, which is not fetched")
            return _UrlSource(ref, self.urls)
        assert isinstance(ref, ContainedRef)
        container = self.dataset / ref.container
        if not container.is_file():
            raise ItemFailure(Reason.MISSING_IMAGE, f"no file {ref.container!r} in {self.dataset}")
        if isinstance(ref, MemberRef):
            return _MemberSource(ref, container, self)
        return _CellSource(ref, container, self)

    def find_file(self, name: str) -> "FileSource":
        """An image by the path of its file; raises ItemFailure as `image_path.locate`."""
        return FileSource(locate(self.dataset, name, self.allowed_roots), name)


@dataclass(frozen=True, slots=True)
class FileSource(ImageSource):
    """A file."""

    path: Path
    name: str

    def file(self) -> Path | None:
        return self.path

    def stamp(self) -> Stamp | None:
        return _file_stamp(self.path)

    def described(self) -> str:
        return repr(self.name)

    def read(self) -> tuple[bytes, Stamp]:
        return read_stamped(self.path)


@dataclass(frozen=True, slots=True)
class _MemberSource(ImageSource):
    ref: MemberRef
    container: Path
    sources: ImageSources

    def stamp(self) -> Stamp | None:
        return _file_stamp(self.container)

    def described(self) -> str:
        return f"{self.ref.container!r}, {self.ref.name!r}"

    def read(self) -> tuple[bytes, Stamp]:
        data, stamp = self.sources.extents.read(self.container, self.ref.offset, self.ref.size)
        if not self.ref.size:
            raise ItemFailure(Reason.UNREADABLE_IMAGE, "it is empty")
        if len(data) < self.ref.size:
            raise ItemFailure(Reason.UNREADABLE_IMAGE, "the tar ends before it does")
        return data, stamp


@dataclass(frozen=True, slots=True)
class _CellSource(ImageSource):
    ref: CellRef | LineRef
    container: Path
    sources: ImageSources

    def described(self) -> str:
        ref = self.ref
        column = ref.column if ref.index is None else f"{ref.column}[{ref.index}]"
        if isinstance(ref, LineRef):
            return f"{ref.container!r}, line {self.sources.extents.line_number(self.container, ref.start)}, {column}"
        row = self.sources.row_groups.row_number(self.container, ref)
        where = f"row {ref.row} of row group {ref.group}" if row is None else f"row {row}"
        return f"{ref.container!r}, {where}, {column}"

    def read(self) -> tuple[bytes, Stamp]:
        value, stamp = self._value()
        try:
            image = cell_image(value, self.ref.index if isinstance(self.ref, LineRef) else None)
        except ItemFailure as failure:
            raise ItemFailure(failure.reason, f"the cell {failure.detail}") from failure
        if isinstance(image, str):
            return self.sources.find_file(image).read()[0], stamp
        return image, stamp

    def _value(self) -> tuple[Any, Stamp]:
        ref = self.ref
        if isinstance(ref, CellRef):
            return self.sources.row_groups.cell(self.container, ref)
        line, stamp = self.sources.extents.read(self.container, ref.start, ref.length)
        with read_failures(self.container):
            delimiter = delimiter_of(self.container)
        return line_value(line, ref.column, delimiter), stamp


@dataclass(frozen=True, slots=True)
class _DataSource(ImageSource):
    ref: DataRef

    def described(self) -> str:
        return f"the image in {self.ref.uri[:30]!r}..."

    def read(self) -> tuple[bytes, Stamp]:
        return data_uri_bytes(self.ref.uri), text_stamp(self.ref)


class _UrlSource(ImageSource):
    """An image at an address, which is fetched once. Belongs to one item."""

    def __init__(self, ref: UrlRef, urls: "UrlImages"):
        self._ref = ref
        self._urls = urls
        self._data: bytes | None = None

    def is_named(self) -> bool:
        return True

    def described(self) -> str:
        return repr(self._ref.url[:200])

    def read(self) -> tuple[bytes, Stamp]:
        if self._data is None:
            self._data = self._urls.fetch(self._ref.url)
        return self._data, text_stamp(self._ref)


def stamp_of(dataset: Path, text: str, containers: dict[str, Stamp | None] | None = None) -> Stamp | None:
    """The stamp of an image by its reference; None where there is no such file.

    `containers` remembers the stamps of containers from one call to the next.
    """
    ref = ImageRef.parse(text)
    if isinstance(ref, DataRef | UrlRef):
        return text_stamp(ref)
    if isinstance(ref, FileRef):
        return _file_stamp(dataset / ref.path)
    assert isinstance(ref, ContainedRef)
    known = {} if containers is None else containers
    if ref.container not in known:
        known[ref.container] = _file_stamp(dataset / ref.container)
    return known[ref.container]


def _file_stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def text_stamp(ref: DataRef | UrlRef) -> Stamp:
    """A stamp of an image that is named by its text alone, whose name tells a change of it."""
    return len(str(ref)), 0
