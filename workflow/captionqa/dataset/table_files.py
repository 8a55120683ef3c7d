"""The files of a table: one file, a glob, a folder of shards, or a list of these; what is left out is named."""

import glob
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from captionqa.errors import InputError

Kind = Literal["parquet", "arrow", "jsonl", "csv", "tsv", "json"]
#: {suffix: kind}; in a folder with tables of several kinds those of the first one are its shards.
KINDS: dict[str, Kind] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
}
#: How files of a kind begin, whatever their suffix.
MAGIC: tuple[tuple[bytes, Kind], ...] = ((b"PAR1", "parquet"), (b"PARE", "parquet"), (b"ARROW1", "arrow"))
LFS_POINTER = b"version https://git-lfs.github.com/spec"
#: Suffixes of packed files.
PACKED_SUFFIXES = (".gz", ".zst", ".bz2", ".xz", ".zip")
#: What the splits of a data set are called, in the names of their files or folders.
SPLIT = re.compile(r"(?:train|test|val|valid|validation|dev)(?:ing|mini|dev)?", re.IGNORECASE)
#: The number of a shard and how many there are: test-00000-of-00002.parquet.
SHARD = re.compile(r"(?P<set>.*?)-(?P<number>\d{5})-of-(?P<count>\d{5})")
#: What `Dataset.save_to_disk` writes beside its shards, and `DatasetDict.save_to_disk` above them.
STATE_FILE, SPLITS_FILE = "state.json", "dataset_dict.json"
#: Files that stand beside shards and are no rows.
_COMPANIONS = frozenset({STATE_FILE, SPLITS_FILE, "dataset_info.json", "dataset_infos.json"})


@dataclass(frozen=True)
class TableFile:
    """One file with rows."""

    path: Path
    kind: Kind


@dataclass
class TableFiles:
    """The files of a table in the order of their rows."""

    files: list[TableFile] = field(default_factory=list)
    #: What is left out or missing, a sentence each.
    notes: list[str] = field(default_factory=list)


def find_table_files(paths: str | Sequence[str], key: str) -> TableFiles:
    """The files that a configured path, or a list of paths, means; `key` is the configuration's name of it.

    Raises:
        InputError: there is no such file, none has rows that can be read, or a folder has several splits.
    """
    found = TableFiles()
    for path in [paths] if isinstance(paths, str) else paths:
        before = len(found.files)
        _add(Path(path), found, key)
        if len(found.files) == before:
            raise InputError(f"{key}: {path} holds no table; tables are files with the suffix {', '.join(KINDS)}.")
    found.files = list(dict.fromkeys(found.files))
    found.notes += _missing_shards(found.files)
    return found


def _add(path: Path, found: TableFiles, key: str) -> None:
    if path.is_file():
        found.files.append(TableFile(path, _kind(path, key)))
    elif path.is_dir():
        _add_folder(path, found, key)
    elif glob.has_magic(str(path)):
        matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        if not matches:
            raise InputError(f"{key}: no file matches {path}.")
        tables = [match for match in matches if match.is_dir() or _suffix_kind(match)]
        found.notes += _unread(path, [match for match in matches if match not in tables])
        for match in tables:
            _add(match, found, key)
    else:
        raise InputError(f"{key}: there is no file {path}; give a table of questions, such as a parquet or JSONL file.")


def _add_folder(folder: Path, found: TableFiles, key: str) -> None:
    if (state := folder / STATE_FILE).is_file():
        found.files += [TableFile(folder / name, "arrow") for name in saved_shards(state)]
        return
    if (folder / SPLITS_FILE).is_file():
        splits = sorted(child.name for child in folder.iterdir() if (child / STATE_FILE).is_file())
        raise InputError(f"{key}: {folder} holds the splits {', '.join(splits)}; name one, as {folder}/{splits[0]}.")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder)]
    kinds = {kind for path in files if (kind := _suffix_kind(path))}
    chosen = next((kind for kind in KINDS.values() if kind in kinds), None)
    tables = [path for path in files if chosen and _suffix_kind(path) == chosen]
    _check_one_split(folder, tables, key)
    found.files += [TableFile(path, chosen) for path in tables if chosen]
    found.notes += _unread(folder, [path for path in files if path not in tables])


def _check_one_split(folder: Path, tables: Sequence[Path], key: str) -> None:
    """Raise InputError where a folder holds several splits: sets of shards, or files or folders named as splits are."""
    sets = {match["set"] for path in tables if (match := SHARD.fullmatch(path.stem))}
    if len(sets) > 1 and len({path.parent for path in tables}) == 1:
        advice = f"{tables[0].parent}/{min(sets)}-*{tables[0].suffix}"
        raise InputError(
            f"{key}: {folder} holds the splits {', '.join(sorted(sets))}; name one by a glob, as {advice}."
        )
    parts = {Path(path.relative_to(folder).parts[0]) for path in tables}
    splits = sorted(str(part) for part in parts if SPLIT.fullmatch(part.stem))
    if len(splits) > 1:
        raise InputError(f"{key}: {folder} holds the splits {', '.join(splits)}; name one, as {folder / splits[0]}.")


def saved_shards(state: Path) -> list[str]:
    """The shards that `Dataset.save_to_disk` lists, in their order."""
    try:
        return [entry["filename"] for entry in json.loads(state.read_text(encoding="utf-8"))["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{state} does not list the shards of a saved data set; save it again.") from error


def _suffix_kind(path: Path) -> Kind | None:
    return None if path.name in _COMPANIONS else KINDS.get(path.suffix.lower())


def _kind(path: Path, key: str) -> Kind:
    """What a file that was named holds, by its first bytes and its suffix."""
    with path.open("rb") as file:
        head = file.read(len(LFS_POINTER))
    if head == LFS_POINTER:
        raise InputError(f"{path} is a git-lfs pointer, not the file itself; fetch it with `git lfs pull`.")
    kind = next((kind for magic, kind in MAGIC if head.startswith(magic)), None) or KINDS.get(path.suffix.lower())
    if kind is None and path.suffix.lower() in PACKED_SUFFIXES:
        raise InputError(f"{key}: {path} is packed; unpack it first.")
    if kind is None:
        raise InputError(f"{key}: {path} has a suffix that is not read; tables are {', '.join(KINDS)}.")
    return kind


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _unread(where: Path, files: Sequence[Path]) -> Iterator[str]:
    """A sentence on tables of another kind, and on files that look like tables and are not read."""
    suffixes = Counter("".join(path.suffixes[-2:]) for path in files if _looks_like_table(path))
    if suffixes:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()))
        yield f"{where}: {kinds} not read as questions"


def _looks_like_table(path: Path) -> bool:
    """Whether a file that is not read could hold rows: a table of another kind, or a packed one."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    other = suffixes[-1:] in ([".xlsx"], [".pkl"], [".tfrecord"])
    return other or suffixes[-1:] in [[one] for one in PACKED_SUFFIXES] or _suffix_kind(path) is not None


def _missing_shards(files: Sequence[TableFile]) -> Iterator[str]:
    """A sentence for each set of shards of which some are not among the files."""
    numbers: dict[tuple[Path, str, int], set[int]] = defaultdict(set)
    for file in files:
        if match := SHARD.fullmatch(file.path.stem):
            numbers[file.path.parent, match["set"], int(match["count"])].add(int(match["number"]))
    for (folder, name, count), seen in numbers.items():
        if missing := count - len(seen):
            yield f"{folder / name}: {missing} of {count} shards are not among the files that are read"
