"""Shards: the files of a data set that hold many images each, and what is in them."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from captionqa.config.captions_config import CaptionColumnsConfig, ReadAs
from captionqa.config.data_root import data_folder, is_pattern
from captionqa.dataset.item_entry import Stamp
from captionqa.dataset.shard_item import ShardItem
from captionqa.dataset.skipped_files import SkippedFiles, system_kind
from captionqa.dataset.table_files import KINDS, SPLITS_FILE, STATE_FILE, Kind, TableFile, saved_shards
from captionqa.dataset.table_scan import TableScan
from captionqa.dataset.tar_items import tar_items
from captionqa.errors import InputError

TAR_SUFFIX = ".tar"
#: Kinds of tables that mostly hold images themselves; of a folder without any, those of text are read.
BINARY_KINDS = ("parquet", "arrow")
#: Files that may hold images, none of which can be read without all that is before it.
COMPRESSED = re.compile(r"\.(?:tar\.\w+|tgz|tbz2?|txz|zip|7z|rar)$", re.IGNORECASE)
_BRACES = re.compile(r"\{(?:(?P<first>\d+)\.\.(?P<last>\d+)|(?P<list>[^{}]*,[^{}]*))\}")


@dataclass(frozen=True)
class Shard:
    """One file with many images."""

    path: Path
    #: Its path in names, messages and references of members: relative to the folder of the data set.
    container: str
    #: What kind of table it is; None for a tar.
    kind: Kind | None

    def stamp(self) -> Stamp:
        """Raises InputError where the file cannot be examined."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise InputError(f"captions.dataset_path: {self.path} cannot be read: {error.strerror}.") from error
        return status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class ShardSet:
    """The shards of a data set, in their order."""

    #: The data folder.
    root: Path
    shards: Sequence[Shard]
    #: Whether a row without a name is called by its number in the whole data set.
    numbered: bool = False

    def items(self, columns: CaptionColumnsConfig, skipped: SkippedFiles) -> Iterator[tuple[int, ShardItem]]:
        """Yield (number of the shard, item) for all images; shards without any are counted in `skipped`.

        Raises:
            InputError: a shard cannot be read, or a configured column is not there.
        """
        # beside tars a table of paths is the notes of what wrote them, such as img2dataset's
        with_tars = any(shard.kind is None for shard in self.shards)
        first_row = 0
        for number, shard in enumerate(self.shards):
            items: Iterable[ShardItem] = ()
            table = None
            if shard.kind is None:
                items = _items_of_tar(shard)
            else:
                table = TableScan(TableFile(shard.path, shard.kind), self.root, shard.container, columns)
                if table.images and not (with_tars and table.has_texts):
                    items = table.items(first_row if self.numbered else None)
            found = False
            for item in items:
                found = True
                yield number, item
            if not found:
                skipped.add(f"{shard.path.suffix[1:].lower()} without images")
            first_row += table.rows if table else 0


def _items_of_tar(shard: Shard) -> Iterator[ShardItem]:
    try:
        yield from tar_items(shard.path, shard.container)
    except OSError as error:
        raise InputError(f"captions.dataset_path: {shard.path} cannot be read: {error.strerror}.") from error


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets` wrote a folder with `save_to_disk`."""
    return (folder / STATE_FILE).is_file() or (folder / SPLITS_FILE).is_file()


def find_shards(dataset: Path, read_as: ReadAs = "auto") -> ShardSet:
    """The shards that a `dataset_path` names: a file, a pattern, or a folder, which may have none of those wanted.

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
        names = saved_shards(dataset / STATE_FILE)
        shards = [Shard(dataset / name, name, "arrow") for name in names]
        return ShardSet(folder, _wanted(shards, read_as), numbered=True)
    else:
        files = list(_files_below(dataset, read_as))
    shards = [Shard(file, os.path.relpath(file, folder), _kind(file)) for file in files]
    return ShardSet(folder, _wanted(shards, read_as))


def _wanted(shards: list[Shard], read_as: ReadAs) -> list[Shard]:
    if read_as == "auto":
        return shards
    return [shard for shard in shards if read_as == ("tars" if shard.kind is None else "tables")]


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


def _files_below(folder: Path, read_as: ReadAs) -> list[Path]:
    """The shards in a folder and the folders below it, in the order of their names."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        found += [Path(parent, name) for name in sorted(files)]
    kinds = {
        path: path.suffix.lower() if path.suffix.lower() == TAR_SUFFIX else KINDS.get(path.suffix.lower())
        for path in found
        if not system_kind(str(path.relative_to(folder)))
    }
    shards = [
        path for path, kind in kinds.items() if kind in BINARY_KINDS or (kind == TAR_SUFFIX and read_as != "tables")
    ]
    return shards or [path for path, kind in kinds.items() if kind not in (None, TAR_SUFFIX)]


def _kind(path: Path) -> Kind | None:
    """The kind of a table, None for a tar; raises InputError for any other file."""
    suffix = path.suffix.lower()
    if suffix == TAR_SUFFIX or suffix in KINDS:
        return KINDS.get(suffix)
    if COMPRESSED.search(path.name):
        raise InputError(
            f"captions.dataset_path: {path} is compressed, so an image in it cannot be read without all before it; "
            "unpack it to a plain .tar or to a folder (images hardly shrink by compression)."
        )
    raise InputError(
        f"captions.dataset_path: {path} is none of what is read: a folder of images, .tar, {', '.join(KINDS)}; give "
        "images by their folder."
    )
