"""The versions of a model whose answers an output folder holds, so that answers of two are never mixed.

A name in the configuration may stand for other weights tomorrow, or for the same weights under other options of the
server. The driver compares the model as it is with the versions in the model's record (`Layout.model_versions`), and
plans with the one that it is, or with a new one. The first version of a source leaves the settings' fingerprint as it
is without a version, so that the answers of captionqa without such records count as answers of the first version. Each
other version has a key that is part of the settings.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from captionqa.config.layout import Layout
from captionqa.errors import ConfigError
from captionqa.files import read_json

#: What stands for a revision or a root that nobody can tell.
UNKNOWN = (None, "unknown")


class ModelVersion(TypedDict):
    """What is known of a model: all that decides its answers beside the settings of the clients."""

    #: As `source` makes it.
    source: str
    #: {option: value} of the server's options; None for an existing server, which does not tell them.
    options: dict[str, str] | None
    #: {file or folder that an option names: digest of its content}, of those that can be read.
    files: dict[str, str]
    #: As `server.model_revision` makes it; None where it is not known yet.
    revision: str | None
    #: The folder or hub id that an existing server says it has loaded.
    root: str | None
    #: Part of the settings; missing in the first version of a source.
    key: NotRequired[str]


class VersionRecord(TypedDict):
    """The file of a model's versions."""

    #: In the order in which they came.
    versions: list[ModelVersion]
    #: Which of them the last run was planned with.
    planned: int


def read_record(path: Path) -> VersionRecord | None:
    """The record of a model's versions; None where no run has written one."""
    record: VersionRecord | None = read_json(path)
    return record


def planned_version(layout: Layout) -> ModelVersion | None:
    """The version that the last run was planned with."""
    record = read_record(layout.model_versions)
    return record and record["versions"][record["planned"]]


def planned_key(output_dir: str, model: str, configured: Mapping[str, Any]) -> str | None:
    """The key of that version, if it is of the source of the configured model.

    Raises:
        ConfigError: the output folder is closed to this user.
    """
    try:
        version = planned_version(Layout(output_dir, model))
    except PermissionError as error:
        raise ConfigError(f"output_dir: you cannot read {error.filename}; set another output_dir.") from error
    source_now = source(configured["path"], configured["url"], configured["served_model_name"])
    return version.get("key") if version is not None and version["source"] == source_now else None


def source(path: str, url: str | None, served_model_name: str | None) -> str:
    """Where a model comes from: its hub id or folder, with the name that an existing server has for it."""
    return f"{path} as {served_model_name}" if url and served_model_name else path


def new_key(version: ModelVersion) -> str:
    """The key of a version that is added to the record."""
    return hashlib.sha256(json.dumps(version, sort_keys=True).encode()).hexdigest()[:12]


def same_revision(first: str | None, second: str | None) -> bool:
    """Whether two revisions may be the same; one that is not known may be any.

    The revisions of folders in earlier versions of captionqa are the beginnings of the present ones.
    """
    if first in UNKNOWN or second in UNKNOWN:
        return True
    return first.startswith(second) or second.startswith(first)


def differences(old: ModelVersion, new: ModelVersion) -> list[str]:
    """What tells two versions apart, as parts of a sentence; none where they may be the same."""
    found = []
    if old["source"] != new["source"]:
        found.append(f"it was {old['source']}, is {new['source']}")
    if not same_revision(old["revision"], new["revision"]):
        found.append(f"its revision was {old['revision']}, is {new['revision']} (configuration, tokenizer or weights)")
    if old["root"] and new["root"] and old["root"] != new["root"]:
        found.append(f"the server said that it serves {old['root']}, and says {new['root']}")
    found += _different_options(old, new)
    both = old["files"].keys() & new["files"].keys()
    found += [f"the content of {name} changed" for name in sorted(both) if old["files"][name] != new["files"][name]]
    return found


def other_model(changes: list[str]) -> str:
    """Why a server is not used for a run that was planned with another version of its model, and what to do."""
    return (
        f"it serves another model than this run was planned with: {'; '.join(changes)}. Nothing was asked of it. The "
        "same command again plans with the model as it is now; to keep the earlier one, bring it back or name it by "
        "--revision in server.extra_args"
    )


def completed(version: ModelVersion, known: ModelVersion) -> ModelVersion:
    """A version with what was not known of it and is known of another, which may be the same."""
    return {
        **version,
        "options": known["options"] if version["options"] is None else version["options"],
        "files": known["files"] | version["files"],
        "revision": _longer(version["revision"], known["revision"]),
        "root": version["root"] or known["root"],
    }


def with_revision(version: ModelVersion, revision: str | None) -> ModelVersion:
    """A version with the revision that a server says it has loaded, where that is not known yet."""
    return completed(version, {**version, "revision": None if revision in UNKNOWN else revision})


def may_be_of(version: ModelVersion | None, server: Mapping[str, Any]) -> bool:
    """Whether an answer may be of this version, by what the answer keeps of its server; None is any version.

    Earlier versions of captionqa did not tell models apart.
    """
    if version is None:
        return True
    root = server.get("model_root")
    return same_revision(version["revision"], server.get("model_revision")) and (
        version["root"] is None or root in UNKNOWN or root == version["root"]
    )


def _different_options(old: ModelVersion, new: ModelVersion) -> list[str]:
    if old["options"] is None or new["options"] is None:
        return []
    names = sorted(old["options"].keys() | new["options"].keys())
    if old["revision"] and new["revision"]:  # one commit may have several names
        names = [name for name in names if name != "--revision"]
    values = [(name, old["options"].get(name), new["options"].get(name)) for name in names]
    return [f"{name} was {_shown(was)}, is {_shown(now)}" for name, was, now in values if was != now]


def _shown(value: str | None) -> str:
    return "not set" if value is None else value or "set"


def _longer(first: str | None, second: str | None) -> str | None:
    return max(first or "", second or "", key=len) or None
