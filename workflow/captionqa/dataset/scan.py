"""The scan of a data set: which images there are, and the stamp of each, which tells an edited file unread.

A stamp is a file's size in bytes and its time of change in ns; None where there is no file. Every scan has a state, a
digest of all that it saw: as long as the state is the same, what was planned from the scan still holds.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from captionqa.dataset.image_file import SNIFF_BYTES, has_image_suffix, looks_like_image
from captionqa.errors import InputError
from captionqa.external_sort import BlockFile, ExternalSort
from captionqa.files import LineFile, json_line, read_json_lines
from captionqa.threads import BLOCK_ITEMS, map_in_order

Stamp = tuple[int, int] | None


class ImageScan:
    """A walk over a folder: its images in no particular order, and how many other files were skipped. A context.

    A file without an image suffix is looked into once; the verdict is kept with its stamp in the file `verdicts`.
    `complete` is false where one could not be read: that may be mended without a change of its stamp.

    Raises InputError where a folder cannot be read.
    """

    def __init__(self, dataset: Path, verdicts: Path):
        self.skipped = 0
        self.complete = True
        self._root = os.path.join(dataset, "")
        self._verdicts = verdicts
        self._seen = BlockFile(verdicts.parent)
        self._places: list[tuple[int, int]] = []
        digest = hashlib.blake2b(digest_size=16)
        for block in map_in_order(self._look, _file_blocks(str(dataset))):
            digest.update(block)
            self._places.append(self._seen.append(block))
        self.state = digest.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._seen.close()

    def images(self) -> Iterator[tuple[str, Stamp]]:
        """(path relative to the folder, stamp) of each image."""
        with ExternalSort(self._verdicts.parent) as unsure:
            for place in self._places:
                for name, size, time_ns, mode in _unpacked(self._seen.read(place)):
                    stamp = (size, time_ns) if mode else None
                    if has_image_suffix(name):
                        yield name, stamp
                    elif stat.S_ISREG(mode):  # opening a pipe would wait for ever
                        unsure.add((self._root + name, stamp))
                    else:
                        self.skipped += 1
            yield from self._images_by_content(unsure)

    def _look(self, entries: list[os.DirEntry]) -> bytes:
        """Name, size, time of change and mode of each file as `_unpacked` reads them; zeros for a link to nowhere."""
        start = len(self._root)
        looks = []
        for entry in entries:
            try:
                found = entry.stat()
            except OSError:
                looks.append(f"{entry.path[start:]}\x000 0 0\0")
            else:
                looks.append(f"{entry.path[start:]}\0{found.st_size} {found.st_mtime_ns} {found.st_mode}\0")
        return "".join(looks).encode("utf-8", "surrogateescape")

    def _images_by_content(self, unsure: ExternalSort) -> Iterator[tuple[str, Stamp]]:
        """The images among files, which come as (path, stamp) in order, as the verdicts of the last scan do."""
        known_lines = read_json_lines(self._verdicts) if self._verdicts.exists() else iter(())
        known = next(known_lines, None)
        changed = False
        with LineFile(self._verdicts.parent) as verdicts:
            for path, stamp in unsure:
                while known is not None and known[0] < path:
                    known, changed = next(known_lines, None), True
                if known is not None and known[:2] == [path, list(stamp)]:
                    verdict = known[2]
                    known = next(known_lines, None)
                else:
                    verdict, changed = self._content_is_image(path), True
                if verdict is not None:
                    verdicts.add(json_line([path, stamp, verdict]))
                if verdict:
                    yield path[len(self._root) :], stamp
                else:
                    self.skipped += 1
            if changed or known is not None:
                verdicts.save(self._verdicts)

    def _content_is_image(self, path: str) -> bool | None:
        """None where the file cannot be read."""
        try:
            with open(path, "rb") as file:
                return looks_like_image(file.read(SNIFF_BYTES))
        except OSError:
            self.complete = False
            return None


class NamedImages:
    """The stamps of images that are named, as those of questions are; `saved` is the file that keeps the names.

    `all_inside` is whether a scan of the folder sees them all: none of them has a name that leads out of it.
    """

    def __init__(self, dataset: Path, saved: Path):
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

    def look(self, names: list[str]) -> list[Stamp]:
        """The stamp of each name; may be called by several threads."""
        stamps: list[Stamp] = []
        for name in names:
            plain = name[0] != "/" and name[-1] not in "/."  # any other needs the care, and the time, of a Path
            try:
                found = os.stat(self._root + name if plain else self._dataset / name)
            except (OSError, ValueError):
                stamps.append(None)
            else:
                stamps.append((found.st_size, found.st_mtime_ns))
        return stamps

    def keep(self, names: list[str], stamps: list[Stamp]) -> None:
        """Take names that were looked at into what is saved, and their stamps into the state."""
        self._lines.add(json_line(names))
        self._count_in(names, stamps)

    def save(self) -> str:
        """Write the names; returns the state."""
        self._lines.save(self._saved)
        return self._digest.hexdigest()

    def state_again(self) -> str:
        """Look at all names that were saved; returns the state, the same as then where no stamp is another."""
        if self._saved.exists():
            for names, stamps in map_in_order(lambda names: (names, self.look(names)), read_json_lines(self._saved)):
                self._count_in(names, stamps)
        return self._digest.hexdigest()

    def _count_in(self, names: list[str], stamps: list[Stamp]) -> None:
        self._digest.update(json_line([names, stamps]).encode())
        self.all_inside &= not any(name[0] == "/" or ".." in name for name in names)


def _unpacked(looks: bytes) -> Iterator[tuple[str, int, int, int]]:
    fields = looks.decode("utf-8", "surrogateescape").split("\0")
    for name, numbers in zip(fields[:-1:2], fields[1::2], strict=True):
        size, time_ns, mode = map(int, numbers.split())
        yield name, size, time_ns, mode


def _file_blocks(dataset: str) -> Iterator[list[os.DirEntry]]:
    """All entries below a folder that are no folders, some at a time."""
    folders: list[tuple[str, frozenset[str]]] = [(dataset, frozenset())]
    block: list[os.DirEntry] = []
    while folders:
        folder, above = folders.pop()
        real = os.path.realpath(folder)
        if real in above:  # a link back up the tree
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
            raise InputError(f"captions.dataset_path: the folder {folder} cannot be read: {error.strerror}.") from error
    yield block


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
