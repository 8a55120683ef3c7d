"""The scan of a data set: which images it has, and a stamp of each that shows an edit without reading the file.

The stamp is None where there is no file. A scan has a state, a digest of all that it saw: while the state is the same,
a plan made from the scan still holds.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from captionqa.dataset.image_format import SNIFF_BYTES, has_image_suffix, looks_like_image
from captionqa.dataset.image_ref import UrlRef
from captionqa.dataset.image_source import stamp_of
from captionqa.dataset.item_entry import Stamp
from captionqa.dataset.skipped_files import (
    APPLE_DOUBLE,
    APPLE_DOUBLE_MAGIC,
    SkippedFiles,
    has_apple_double_name,
    kind_by_suffix,
    system_kind,
)
from captionqa.errors import InputError
from captionqa.external_sort import BlockFile, ExternalSort
from captionqa.files import LineFile, json_line, read_json_lines
from captionqa.shown_text import printable
from captionqa.threads import BLOCK_ITEMS, map_in_order

#: What a file without an image suffix is by its content; any other word is the kind under which it is skipped.
IMAGE = "image"
NO_FILES, UNREADABLE = "that are no files", "that cannot be opened"


class ImageScan:
    """A walk over a folder, which finds its images in no particular order and counts the other files.

    Use it as a context manager.

    A file without an image suffix is opened once to see whether its content is an image; so is one whose name is that
    of macOS's metadata. The file `sniffed` keeps the result with the stamp of each, so that the next scan opens only
    what changed. Files of systems are left out by `skipped_files.py`.

    Raises:
        InputError: a folder cannot be read.
    """

    def __init__(self, dataset: Path, sniffed: Path, output: Path | None = None):
        """`output` is a folder that is left out if it is below `dataset`: the run's, whose page has pictures."""
        #: Files that are no images; known once `images` is exhausted.
        self.skipped = SkippedFiles()
        #: False where a file could not be opened. That may be repaired without a change of its stamp, so the state of
        #: such a scan proves nothing.
        self.complete = True
        self._root = os.path.join(dataset, "")
        self._sniffed = sniffed
        self._records = BlockFile(sniffed.parent)
        self._blocks: list[tuple[int, int]] = []
        digest = hashlib.blake2b(digest_size=16)
        for block in map_in_order(self._packed, _file_blocks(str(dataset), output)):
            digest.update(block)
            self._blocks.append(self._records.append(block))
        self.state = digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._records.close()

    def images(self) -> Iterator[tuple[str, Stamp | None]]:
        """Yield the path relative to the folder and the stamp of each image."""
        with ExternalSort(self._sniffed.parent) as without_suffix:
            for block in self._blocks:
                for name, size, time_ns, mode in _unpacked(self._records.read(block)):
                    stamp = (size, time_ns) if mode else None
                    if kind := system_kind(name):
                        self.skipped.add(kind)
                    elif has_image_suffix(name) and not (mode and has_apple_double_name(name)):
                        yield name, stamp
                    elif stat.S_ISREG(mode):  # opening a pipe would block for ever
                        without_suffix.add((self._root + name, stamp))
                    else:
                        self.skipped.add(NO_FILES)
            yield from self._images_by_content(without_suffix)

    def _packed(self, entries: list[os.DirEntry[str]]) -> bytes:
        """Name, size, modification time and mode of each file, as `_unpacked` reads them; zeros for a dangling link."""
        start = len(self._root)
        records = []
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:
                records.append(f"{entry.path[start:]}\x000 0 0\0")
            else:
                records.append(f"{entry.path[start:]}\0{status.st_size} {status.st_mtime_ns} {status.st_mode}\0")
        return "".join(records).encode("utf-8", "surrogateescape")

    def _images_by_content(self, without_suffix: ExternalSort) -> Iterator[tuple[str, Stamp | None]]:
        """The images among (path, stamp) of files without an image suffix.

        Both these and the lines of the last scan are sorted by path, so one pass over each finds what is known.
        """
        known_lines = read_json_lines(self._sniffed) if self._sniffed.exists() else iter(())
        known = next(known_lines, None)
        changed = False
        with LineFile(self._sniffed.parent) as sniffed:
            for path, stamp in without_suffix:
                while known is not None and known[0] < path:
                    known, changed = next(known_lines, None), True
                kind = None
                if known is not None and known[:2] == [path, list(stamp)]:
                    kind = known[2] if isinstance(known[2], str) else None  # earlier versions knew fewer images
                    known = next(known_lines, None)
                if kind is None:
                    kind, changed = self._kind_by_content(path), True
                if kind != UNREADABLE:
                    sniffed.add(json_line([path, stamp, kind]))
                if kind == IMAGE:
                    yield path[len(self._root) :], stamp
                else:
                    self.skipped.add(kind)
            if changed or known is not None:
                sniffed.save(self._sniffed)

    def _kind_by_content(self, path: str) -> str:
        """IMAGE for a file that begins like an image, else what it is called when it is skipped."""
        try:
            with open(path, "rb") as file:
                head = file.read(SNIFF_BYTES)
        except OSError:
            self.complete = False
            return UNREADABLE
        if head.startswith(APPLE_DOUBLE_MAGIC):
            return APPLE_DOUBLE
        # a suffix of an image counts here too, beside the name of macOS's metadata
        return IMAGE if looks_like_image(head) or has_image_suffix(path) else kind_by_suffix(path)


class NamedImages:
    """The stamps of the images that questions name. Use it as a context manager.

    The file `saved` keeps the names, so that the next run can check their stamps without reading the questions.
    """

    def __init__(self, dataset: Path, saved: Path, allow_urls: bool = False):
        """Where `allow_urls` is false, an address is no image."""
        self._allow_urls = allow_urls
        #: Whether a scan of the folder sees all of these images: no name leads out of the folder.
        self.all_inside = True
        self._dataset = dataset
        self._root = os.path.join(dataset, "")
        self._saved = saved
        self._lines = LineFile(saved.parent)
        self._digest = hashlib.blake2b(digest_size=16)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def stamps(self, names: list[str]) -> list[Stamp | None]:
        """The stamp of each named image; safe to call from several threads."""
        stamps: list[Stamp | None] = []
        containers: dict[str, Stamp | None] = {}
        for name in names:
            if "#" in name or name.startswith("data:") or (self._allow_urls and UrlRef.FORM.match(name)):
                stamps.append(stamp_of(self._dataset, name, containers))
                continue
            is_plain = name[0] != "/" and name[-1] not in "/."  # only other names need a Path, which is slower
            try:
                status = os.stat(self._root + name if is_plain else self._dataset / name)
            except (OSError, ValueError):
                stamps.append(None)
            else:
                stamps.append((status.st_size, status.st_mtime_ns))
        return stamps

    def add(self, names: list[str], stamps: list[Stamp | None]) -> None:
        """Add names to what will be saved, and with their stamps to the state."""
        self._lines.add(json_line(names))
        self._add_to_state(names, stamps)

    def save(self) -> str:
        """Write the names; returns the state."""
        self._lines.save(self._saved)
        return self._digest.hexdigest()

    def state_of_saved(self) -> str:
        """Take the stamps of all saved names; returns the state, which is as saved where no stamp changed."""
        if self._saved.exists():
            for names, stamps in map_in_order(lambda names: (names, self.stamps(names)), read_json_lines(self._saved)):
                self._add_to_state(names, stamps)
        return self._digest.hexdigest()

    def _add_to_state(self, names: list[str], stamps: list[Stamp | None]) -> None:
        self._digest.update(json_line([names, stamps]).encode())
        self.all_inside &= not any(name[0] == "/" or ".." in name for name in names)


def _unpacked(records: bytes) -> Iterator[tuple[str, int, int, int]]:
    fields = records.decode("utf-8", "surrogateescape").split("\0")
    for name, numbers in zip(fields[:-1:2], fields[1::2], strict=True):
        size, time_ns, mode = map(int, numbers.split())
        yield name, size, time_ns, mode


def _file_blocks(dataset: str, left_out: Path | None) -> Iterator[list[os.DirEntry[str]]]:
    """All files below a folder, in blocks of `BLOCK_ITEMS`, without those below the folder that is left out."""
    leave_out = None if left_out is None else os.path.realpath(left_out)
    folders: list[tuple[str, frozenset[str]]] = [(dataset, frozenset())]
    block: list[os.DirEntry[str]] = []
    while folders:
        folder, above = folders.pop()
        real = os.path.realpath(folder)
        if real in above or (above and real == leave_out):  # the first is a link back up the tree
            continue
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _is_folder(entry):
                        folders.append((entry.path, above | {real}))
                        continue
                    block.append(entry)
                    if len(block) == BLOCK_ITEMS:
                        yield block
                        block = []
        except OSError as error:
            raise InputError(
                f"captions.dataset_path: the folder {printable(str(folder))} cannot be read: {error.strerror}."
            ) from error
    yield block


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
