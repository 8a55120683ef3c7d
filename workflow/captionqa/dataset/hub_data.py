"""Data sets of the Hugging Face hub: the driver finds the commit and fetches the files into the hub's own cache.

    hf://datasets/ORG/NAME[@REVISION]/SPLIT                  parquet files of a split, also as CONFIG/SPLIT
    hf://datasets/ORG/NAME[@REVISION]/data/part-*.parquet    a file, or a pattern of which * stays in one folder

The form is that of `HfFileSystem`; cache, token, endpoint and offline mode are huggingface_hub's own.
"""

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from captionqa.config.config import Config
from captionqa.config.hub_record import HubFiles
from captionqa.config.layout import Layout
from captionqa.dataset.table_files import KINDS, SHARD
from captionqa.errors import InputError
from captionqa.files import read_json, write_json

_PATH = re.compile(
    r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>refs/(?:convert|pr)/\w+|[^/]+))?(?:/(?P<rest>.*))?"
)
#: The files of a split, the first form that a repository has. The digits keep test-dev out of test.
SPLIT_FORMS = (
    "data/{}-[0-9]*.parquet", "{}-[0-9]*.parquet", "{}/*.parquet", "data/{}.parquet", "{}.parquet",
)  # fmt: skip
_MAGIC = re.compile(r"[*?\[]")
SHOWN_SPLITS = 20


class HubPath(NamedTuple):
    """A configured path of the hub."""

    text: str
    repo: str
    #: A branch, a tag or a commit; None for the default branch.
    revision: str | None
    #: A split, or a path in the repository.
    rest: str

    @classmethod
    def parse(cls, text: str) -> "HubPath":
        """Raises InputError where the text has another form."""
        found = _PATH.fullmatch(text)
        if found is None:
            raise InputError(f"{text} is no data set of the hub; the form is hf://datasets/ORG/NAME@REVISION/SPLIT.")
        revision = None if found["revision"] is None else unquote(found["revision"])
        return cls(text, found["repo"], revision, (found["rest"] or "").strip("/"))

    def command(self) -> str:
        """What fetches its files on a machine with internet."""
        files = self.rest if self.is_of_files else f"*{self.rest.rpartition('/')[2]}*"
        revision = f" --revision {shlex.quote(self.revision)}" if self.revision else ""
        return f"hf download {self.repo} --repo-type dataset{revision} --include {shlex.quote(files)}"

    @property
    def is_of_files(self) -> bool:
        """Whether it names files and no split."""
        return bool(_MAGIC.search(self.rest)) or PurePosixPath(self.rest).suffix.lower() in (*KINDS, ".tar")


def plan_hub_data(config: Config, layout: Layout) -> Config:
    """The configuration with the local files of its hub paths, which are fetched where needed and kept for the jobs.

    Raises:
        InputError: as `fetch`.
    """
    planned: dict[str, HubFiles] = {}
    for each, of_data in config.by_data_set(layout):
        if not (texts := each.sections.hub_paths):
            continue
        record = {text: planned[text] if text in planned else fetch(text) for text in texts}
        planned |= record
        if read_json(Path(of_data.hub_data)) != record:
            write_json(Path(of_data.hub_data), record)
        hub_data_set = replace(
            each,
            captions=each.captions and replace(each.captions, hub=record),
            qa=each.qa and replace(each.qa, hub=record),
        )
        config = config.with_data_sets([hub_data_set])
    return config


def fetch(text: str) -> HubFiles:
    """Find the commit of a hub path, and its files in the cache, after fetching those that are not there.

    Raises:
        InputError: the path is none of the hub, the repository has no such files, or neither hub nor cache gives them.
    """
    import httpx2
    import huggingface_hub
    from huggingface_hub import errors

    path = HubPath.parse(text)
    try:
        commit = huggingface_hub.resolve_revision(path.repo, repo_type="dataset", revision=path.revision).resolved
        names = _names(path, commit)
        pattern = find_files(path, names)
        files = [name for name in names if _matches(name, pattern)]
        snapshot = _snapshot(path, commit, pattern)
    except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
        raise InputError(
            f"{text}: the hub has no data set {path.repo}, or asks for a token that may read it: hf auth login."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{text}: {path.repo} has no revision {path.revision}.") from error
    except errors.HFValidationError as error:
        raise InputError(f"{text}: {error}") from error
    except (OSError, errors.RevisionResolutionError, httpx2.HTTPError) as error:
        raise _unreachable(path, error) from error
    if missing := [name for name in files if not (snapshot / name).is_file()] or _missing_shards(files):
        raise InputError(f"{text}: {missing[0]} is not in the hub's cache; fetch it with: {path.command()}")
    return {"commit": commit, "path": str(snapshot / pattern)}


def find_files(path: HubPath, names: Sequence[str]) -> str:
    """The pattern of the files that a path of the hub stands for, among the names of a repository's files.

    Raises:
        InputError: there are none, or several configurations have the split.
    """
    rest = path.rest
    if path.is_of_files:
        if any(_matches(name, rest) for name in names):
            return rest
        raise InputError(f"{path.text}: {path.repo} has no file {rest}.")
    if rest:
        for pattern in [form.format(rest) for form in SPLIT_FORMS]:
            if any(_matches(name, pattern) for name in names):
                return pattern
    patterns = [f"*/{form.format(rest)}" for form in SPLIT_FORMS[1:3]] if rest and "/" not in rest else []
    found = {name.partition("/")[0]: pattern for pattern in patterns for name in names if _matches(name, pattern)}
    if len(found) == 1:
        ((folder, pattern),) = found.items()
        return folder + pattern.removeprefix("*")
    splits = [f"{folder}/{rest}" for folder in sorted(found)] or _splits(names)
    there = ", ".join(splits[:SHOWN_SPLITS]) or "none in parquet files"
    what = f"no single split {rest}" if rest else "to be followed by a split"
    raise InputError(f"{path.text}: {path.repo} has {what}; name one of its splits: {there}.")


def _splits(names: Iterable[str]) -> list[str]:
    """What splits the parquet files of a repository have, as they are named behind it."""
    tables = [PurePosixPath(name) for name in names if name.endswith(".parquet")]
    stems = {
        str(path.with_name(found["set"] if (found := SHARD.fullmatch(path.stem)) else path.stem)) for path in tables
    }
    return sorted({stem.removeprefix("data/") for stem in stems})


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _names(path: HubPath, commit: str) -> list[str]:
    """The files of a commit; where neither cache nor hub lists them, those that the cache has."""
    import httpx2
    import huggingface_hub
    from huggingface_hub import errors

    with suppress(errors.CachedRepoTreeNotFoundError):
        tree = huggingface_hub.get_cached_repo_tree(path.repo, repo_type="dataset", revision=commit)
        return [file.path for file in tree]
    try:
        listed = huggingface_hub.list_repo_tree(path.repo, repo_type="dataset", revision=commit, recursive=True)
        return [file.path for file in listed if isinstance(file, huggingface_hub.RepoFile)]
    except (errors.OfflineModeIsEnabled, httpx2.TransportError):
        snapshot = _snapshot(path, commit, "*", local_files_only=True)
    found = (Path(parent, name) for parent, _, files in os.walk(snapshot) for name in files)
    return sorted(str(file.relative_to(snapshot)) for file in found)


def _snapshot(path: HubPath, commit: str, pattern: str, local_files_only: bool = False) -> Path:
    """The folder of a commit in the cache, with the files of a pattern, which are fetched where they are not there."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        path.repo,
        repo_type="dataset",
        revision=commit,
        allow_patterns=[pattern],
        local_files_only=local_files_only,
    )
    return Path(folder)


def _missing_shards(names: Iterable[str]) -> list[str]:
    """Numbered shards that are not among the names, of which each says how many there are."""
    found = [(name, match) for name in names if (match := SHARD.fullmatch(PurePosixPath(name).stem))]
    there: set[str] = {name for name, _ in found}
    wanted: Mapping[str, None] = {
        str(PurePosixPath(name).with_stem(f"{match['set']}-{number:05d}-of-{match['count']}")): None
        for name, match in found
        for number in range(int(match["count"]))
    }
    return [name for name in wanted if name not in there]


def _unreachable(path: HubPath, error: Exception) -> InputError:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    is_offline = type(cause).__name__ == "OfflineModeIsEnabled"
    reason = "HF_HUB_OFFLINE is set" if is_offline else " ".join(f"{type(cause).__name__}: {cause}".split())[:120]
    return InputError(
        f"{path.text} is not complete in the hub's cache, and the hub cannot be reached ({reason}); on a machine with "
        f"internet and the same cache (HF_HOME), fetch it with: {path.command()}"
    )
