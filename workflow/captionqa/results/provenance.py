"""Provenance: how a final file was made."""

import hashlib
import json
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from io import BufferedReader
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NotRequired, TypedDict, TypeVar

from captionqa import CHECKOUT, __version__
from captionqa.client.answer import Answer
from captionqa.client.chunk_result import ChunkHeader, ClientProcess
from captionqa.config.config import Config
from captionqa.config.contexts import Context
from captionqa.config.model_versions import same_revision
from captionqa.config.settings import AnswerSettings, caption_settings
from captionqa.errors import ResultError
from captionqa.files import read_json

if TYPE_CHECKING:  # merging describes servers and has no use for the code of the server room
    from captionqa.server.endpoint import EndpointSummary, ServerIdentity

#: The packages whose versions a provenance file has.
PACKAGES = ("snakemake", "requests", "pillow", "tifffile", "pandas", "pyarrow", "math-verify")
DIGEST_BYTES = 12
_CANONICAL = json.JSONEncoder(sort_keys=True)


class ItemTotals(TypedDict):
    """What became of the items of a final file."""

    #: answered + failed.
    items: int
    answered: int
    #: Of the answered: items that got the answer of an identical request.
    shared: int
    #: Of the answered: answers that ended at max_tokens.
    truncated: int
    failed: int
    #: {failure reason: items}.
    failures_by_reason: dict[str, int]


class Tokens(TypedDict):
    """The tokens of all requests that were answered; a shared answer counts once."""

    prompt: int
    completion: int


class CodeVersion(TypedDict):
    """Which captionqa it was."""

    version: str
    #: None outside of a git checkout.
    git_commit: str | None
    #: Whether tracked files were changed; None outside of a git checkout.
    git_dirty: bool | None


class QuestionFile(TypedDict):
    #: As configured: a path, or a list of paths.
    path: str | Sequence[str]
    #: A digest of the question rows.
    fingerprint: str


class CaptionSource(TypedDict, total=False):
    """Which captions questions were asked with."""

    #: Of this run: their settings, with the prompt.
    settings: AnswerSettings
    #: Of a file: its path, and a digest of its content.
    path: str
    fingerprint: str


class JudgedSource(TypedDict):
    """Which answers a judge graded."""

    #: The results file, and a digest of its content.
    results: str
    fingerprint: str
    #: Who answered.
    model: str
    #: `qa.judge.when`.
    when: str


class Provenance(TypedDict):
    """A provenance file."""

    settings: AnswerSettings
    dataset_path: str
    #: A digest of the items' ids.
    dataset_fingerprint: str
    #: A digest of the answered items' ids and the contents of their image files.
    content_fingerprint: str
    counts: ItemTotals
    tokens: Tokens
    #: How many chunk results were merged.
    chunks: int
    #: As `made_from` makes it; missing in the files of earlier versions.
    made_from: NotRequired[str]
    #: When the first chunk started, as ISO 8601 in UTC.
    started: str
    #: When the last chunk finished, as ISO 8601 in UTC.
    finished: str
    #: The different servers that answers came from.
    answered_by: list["ServerIdentity"]
    #: The different hosts and Slurm jobs that chunks ran on.
    clients: list[ClientProcess]
    #: The different servers that chunks knew of.
    servers: list["EndpointSummary"]
    captionqa: CodeVersion
    #: {package: version}, None for one that is not installed; with Python's own version.
    packages: dict[str, str | None]
    #: {path of the hub: its commit}, only where the data are from there.
    hub_commits: NotRequired[Mapping[str, str]]
    #: Only for questions.
    question_file: NotRequired[QuestionFile]
    #: Only for questions that were asked with captions.
    captions: NotRequired[CaptionSource]
    #: Only of a judge.
    judged: NotRequired[JudgedSource]


class ItemCounts:
    """Counts what became of the items of a final file, which come one by one in the order of their ids."""

    def __init__(self) -> None:
        self.answered = self.shared = self.truncated = self.prompt_tokens = self.completion_tokens = 0
        self.reasons: Counter[str] = Counter()
        self.answered_by: _Distinct[ServerIdentity] = _Distinct()
        self._ids = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._contents = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def add_answer(self, item: str, answer: Answer, files: Sequence[str], shared: bool) -> None:
        """`files` are the digests of the item's image files; a `shared` answer came from an identical request."""
        self._ids.update(_id_bytes(item))
        self._contents.update(_id_bytes(item) + "".join(f"{digest}\0" for digest in files).encode())
        self.answered += 1
        self.truncated += answer["finish_reason"] == "length"
        self.shared += shared
        self.add_request(answer, shared)

    def add_request(self, answer: Answer, shared: bool) -> None:
        """Count the tokens and the server of one more answer to an item."""
        if not shared:
            self.prompt_tokens += answer["prompt_tokens"]
            self.completion_tokens += answer["completion_tokens"]
        self.answered_by.add(answer["server"])

    def add_failure(self, item: str, reason: str) -> None:
        self._ids.update(_id_bytes(item))
        self.reasons[reason] += 1

    def check_one_model(self, chunks: Sequence[str]) -> None:
        """Check that all answers may be of one version of the model; `chunks` are the results that they came from.

        Raises:
            ResultError: some are of one, some of another, as earlier versions of captionqa let it happen.
        """
        for server, other in combinations(self.answered_by.values(), 2):
            if not same_revision(server.get("model_revision"), other.get("model_revision")):
                raise ResultError(
                    f"the answers are of two versions of the model: {server['model_revision']} and "
                    f"{other['model_revision']}. Delete {Path(chunks[0]).parent} and run again: answers of the model "
                    "as it is now are taken from the journal, the others are asked for again."
                )

    @property
    def dataset_fingerprint(self) -> str:
        return self._ids.hexdigest()

    @property
    def content_fingerprint(self) -> str:
        return self._contents.hexdigest()

    def totals(self) -> ItemTotals:
        failed = self.reasons.total()
        return {
            "items": self.answered + failed,
            "answered": self.answered,
            "shared": self.shared,
            "truncated": self.truncated,
            "failed": failed,
            "failures_by_reason": dict(sorted(self.reasons.items())),
        }


T = TypeVar("T")


def read_provenance(path: str) -> Provenance | None:
    """A provenance file; None where it is missing."""
    stored: Provenance | None = read_json(path)
    return stored


class _Distinct(Generic[T]):
    """Distinct JSON values in the order in which they first came."""

    def __init__(self, values: Iterable[T] = ()):
        self._values: dict[str, T] = {}
        self._last: T | None = None
        for value in values:
            self.add(value)

    def add(self, value: T) -> None:
        if value == self._last:  # mostly the same server comes again, and to compare is faster than to encode
            return
        self._last = value
        self._values.setdefault(_CANONICAL.encode(value), value)

    def values(self) -> list[T]:
        return list(self._values.values())


def provenance(
    headers: Sequence[ChunkHeader],
    counts: ItemCounts,
    settings: AnswerSettings,
    dataset_path: str,
    hub_commits: Mapping[str, str] | None = None,
) -> Provenance:
    """Describe a final file by the headers of its chunk results and the counts of its items."""
    described: Provenance = {
        "settings": settings,
        "dataset_path": dataset_path,
        "dataset_fingerprint": counts.dataset_fingerprint,
        "content_fingerprint": counts.content_fingerprint,
        "counts": counts.totals(),
        "tokens": {"prompt": counts.prompt_tokens, "completion": counts.completion_tokens},
        "chunks": len(headers),
        "started": _iso(min(header["started"] for header in headers)),
        "finished": _iso(max(header["finished"] for header in headers)),
        "answered_by": counts.answered_by.values(),
        "clients": _Distinct(header["client"] for header in headers).values(),
        "servers": _Distinct(server for header in headers for server in header["servers"]).values(),
        "captionqa": _code_version(),
        "packages": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }
    if hub_commits:
        described["hub_commits"] = hub_commits
    return described


def caption_source(config: Config, model: str, context: Context) -> CaptionSource | None:
    """The captions that a model answers from in a context, as configured; None for one without captions."""
    if context.file is not None:
        with open(context.file, "rb") as file:
            return {"path": context.file, "fingerprint": file_digest(file)}
    if context.captions is None:
        return None
    return {"settings": caption_settings(config, context.captioned_by(model), context.captions)}


def file_digest(file: BufferedReader) -> str:
    """A digest of a file's content."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def _id_bytes(item: str) -> bytes:
    return item.encode("utf-8", "surrogateescape") + b"\0"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _code_version() -> CodeVersion:
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "version": __version__,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
    }


def _git(*arguments: str) -> str | None:
    """What git prints for the checkout; None where there is no git, or no repository."""
    command = ["git", "-C", str(CHECKOUT), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
