"""Shards: the files of a data set that hold many images each, and what is in them."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from captionqa.config.config import CaptionColumnsConfig
from captionqa.config.data_root import data_folder, is_pattern
from captionqa.dataset.image_ref import ARROW_SUFFIX
from captionqa.dataset.item_entry import Stamp
from captionqa.dataset.shard_item import ShardItem
from captionqa.dataset.skipped_files import SkippedFiles, system_kind
from captionqa.dataset.table_scan import TableScan
from captionqa.dataset.tar_items import tar_items
from captionqa.errors import InputError
from captionqa.files import read_json

TAR_SUFFIX, PARQUET_SUFFIX = ".tar", ".parquet"
SUFFIXES = (TAR_SUFFIX, PARQUET_SUFFIX, ARROW_SUFFIX)
#: Files that may hold images, none of which can be read without all that is before it.
COMPRESSED = re.compile(r"\.(?:tar\.\w+|tgz|tbz2?|txz|zip|7z|rar)$", re.IGNORECASE)
_BRACES = re.compile(r"\{(?:(?P<first>\d+)\.\.(?P<last>\d+)|(?P<list>[^{}]*,[^{}]*))\}")
#: What `datasets` writes beside the Arrow files of one split, and in a folder of several splits.
STATE_FILE, SPLITS_FILE = "state.json", "dataset_dict.json"


@dataclass(frozen=True)
class Shard:
    """One file with many images."""

    path: Path
    #: Its path in references: relative to the data folder.
    container: str

    def stamp(self) -> Stamp:
        """Raises InputError where the file cannot be examined."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise InputError(f"captions.dataset_path: {self.path} cannot be read: {error.strerror}.") from error
        return status.st_size, status.st_mtime_ns

    def is_tar(self) -> bool:
        return self.path.suffix.lower() == TAR_SUFFIX


@dataclass(frozen=True)
class ShardSet:
    """The shards of a data set, in their order."""

    shards: Sequence[Shard] = ()
    #: Whether a row without a name is called by its number in the whole data set.
    numbered: bool = False

    def __bool__(self) -> bool:
        return bool(self.shards)

    def items(self, columns: CaptionColumnsConfig, skipped: SkippedFiles) -> Iterator[tuple[int, ShardItem]]:
        """Yield (number of the shard, item) for all images; shards without any are counted in `skipped`.

        Raises:
            InputError: a shard cannot be read, or a configured column is not there.
        """
        # beside tars a table of paths is the notes of what wrote them, such as img2dataset's
        only_bytes = any(shard.is_tar() for shard in self.shards)
        first_row = 0
        for number, shard in enumerate(self.shards):
            items: Iterable[ShardItem] = ()
            if shard.is_tar():
                items = tar_items(shard.path, shard.container)
            else:
                table = TableScan(shard.path, shard.container, columns)
                if table.images and not (only_bytes and table.images[0].is_text):
                    items = table.items(first_row if self.numbered else None)
                first_row += table.rows
            found = False
            for item in items:
                found = True
                yield number, item
            if not found:
                skipped.add(f"{shard.path.suffix[1:].lower()} without images")


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets` wrote a folder with `save_to_disk`."""
    return (folder / STATE_FILE).is_file() or (folder / SPLITS_FILE).is_file()


def find_shards(dataset: Path) -> ShardSet:
    """The shards that a `dataset_path` names: a file, a pattern, or a folder, which may have none.

    Raises:
        InputError: it names files that cannot be read here, or none.
    """
    folder = data_folder(str(dataset))
    if is_pattern(str(dataset)):
        files = list(_matching_files(str(dataset)))
        if not files:
            raise InputError(f"captions.dataset_path: no file fits {dataset}; look at its folder and its spelling.")
    elif dataset.is_file():
        files = [dataset]
    elif (dataset / SPLITS_FILE).is_file():
        splits = sorted(state.parent.name for state in dataset.glob(f"*/{STATE_FILE}"))
        raise InputError(
            f"captions.dataset_path: {dataset} holds the splits {', '.join(splits)}; name the folder of one of them."
        )
    elif (dataset / STATE_FILE).is_file():
        return ShardSet([Shard(dataset / name, name) for name in _saved_names(dataset)], numbered=True)
    else:
        files = list(_files_below(dataset))
    for file in files:
        _check_suffix(file)
    return ShardSet([Shard(file, os.path.relpath(file, folder)) for file in files])


def _matching_files(pattern: str) -> Iterator[Path]:
    names = [name for plain in expand_braces(pattern) for name in glob.glob(plain, recursive=True)]
    yield from (Path(name) for name in sorted(set(names)) if os.path.isfile(name))


def expand_braces(pattern: str) -> list[str]:
    """The patterns that one with braces stands for: {a,b}, or a range of numbers such as {000..099}."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    if found["first"] is None:
        values: Iterable[str] = found["list"].split(",")
    else:
        first, last = found["first"], found["last"]
        values = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    return [full for value in values for full in expand_braces(f"{before}{value}{after}")]


def _saved_names(folder: Path) -> list[str]:
    """The files of a folder that `Dataset.save_to_disk` wrote, in their order."""
    state = read_json(folder / STATE_FILE)
    try:
        return [file["filename"] for file in state["_data_files"]]  # type: ignore[index]  # checked by trying
    except (KeyError, TypeError) as error:
        raise InputError(f"captions.dataset_path: {folder / STATE_FILE} names no data files; save it again.") from error


def _files_below(folder: Path) -> Iterator[Path]:
    """The shards in a folder and the folders below it, in the order of their names."""
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(files):
            path = Path(parent, name)
            if path.suffix.lower() in SUFFIXES and not system_kind(str(path.relative_to(folder))):
                yield path


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() in SUFFIXES:
        return
    if COMPRESSED.search(path.name):
        raise InputError(
            f"captions.dataset_path: {path} is compressed, so an image in it cannot be read without all before it; "
            "unpack it to a plain .tar or to a folder (images hardly shrink by compression)."
        )
    raise InputError(
        f"captions.dataset_path: {path} is none of what is read: a folder of images, .parquet, .arrow or .tar; give "
        "images by their folder."
    )
