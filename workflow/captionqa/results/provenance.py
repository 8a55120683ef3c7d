"""Provenance: how a final file was made."""

import hashlib
import json
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, BinaryIO

from captionqa import CHECKOUT, __version__

PACKAGES = ("snakemake", "requests", "pillow", "tifffile", "pandas", "pyarrow", "math-verify")
DIGEST_BYTES = 12
_CANONICAL = json.JSONEncoder(sort_keys=True)


class ItemCounts:
    """Adds up what became of the items of a final file, given one by one in the order of their ids."""

    def __init__(self) -> None:
        self.answered = self.shared = self.truncated = self.prompt_tokens = self.completion_tokens = 0
        self.reasons: Counter[str] = Counter()
        self.answered_by = _Distinct()
        self._ids = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._contents = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def add_answer(self, item: str, answer: Mapping[str, Any], files: Sequence[str], shared: bool) -> None:
        """`files` are the digests of the image files that the answer is about; a `shared` one cost no tokens."""
        self._ids.update(_id_bytes(item))
        self._contents.update(_id_bytes(item) + "".join(f"{digest}\0" for digest in files).encode())
        self.answered += 1
        self.truncated += answer["finish_reason"] == "length"
        self.shared += shared
        if not shared:
            self.prompt_tokens += answer["prompt_tokens"]
            self.completion_tokens += answer["completion_tokens"]
        self.answered_by.add(answer["server"])

    def add_failure(self, item: str, reason: str) -> None:
        self._ids.update(_id_bytes(item))
        self.reasons[reason] += 1

    @property
    def dataset_fingerprint(self) -> str:
        """A digest of the items' ids."""
        return self._ids.hexdigest()

    @property
    def content_fingerprint(self) -> str:
        """A digest of the items that have an answer, with the contents of their image files."""
        return self._contents.hexdigest()


class _Distinct:
    """JSON values, each kept once, in the order in which they came."""

    def __init__(self, values: Iterable[Any] = ()):
        self._values: dict[str, Any] = {}
        for value in values:
            self.add(value)

    def add(self, value: Any) -> None:
        self._values.setdefault(_CANONICAL.encode(value), value)

    def values(self) -> list[Any]:
        return list(self._values.values())


def provenance(
    headers: Sequence[Mapping[str, Any]], counts: ItemCounts, settings: Mapping[str, Any], dataset_path: str
) -> dict[str, Any]:
    """A description of a final file from its chunks' headers and the counts of its items."""
    failed = counts.reasons.total()
    return {
        "settings": dict(settings),
        "dataset_path": dataset_path,
        "dataset_fingerprint": counts.dataset_fingerprint,
        "content_fingerprint": counts.content_fingerprint,
        "counts": {
            "items": counts.answered + failed,
            "answered": counts.answered,
            "shared": counts.shared,
            "truncated": counts.truncated,
            "failed": failed,
            "failures_by_reason": dict(sorted(counts.reasons.items())),
        },
        "tokens": {"prompt": counts.prompt_tokens, "completion": counts.completion_tokens},
        "chunks": len(headers),
        "started": _iso(min(header["started"] for header in headers)),
        "finished": _iso(max(header["finished"] for header in headers)),
        "answered_by": counts.answered_by.values(),
        "clients": _Distinct(header["client"] for header in headers).values(),
        "servers": _Distinct(server for header in headers for server in header["servers"]).values(),
        "captionqa": {"version": __version__, **_git_state()},
        "packages": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }


def file_digest(file: BinaryIO) -> str:
    """A digest of a file's content."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def _id_bytes(item: str) -> bytes:
    return item.encode("utf-8", "surrogateescape") + b"\0"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _git_state() -> dict[str, Any]:
    """The commit of this checkout and whether it has changes; both None outside of one."""

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(CHECKOUT), *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": None if status is None else bool(status)}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
