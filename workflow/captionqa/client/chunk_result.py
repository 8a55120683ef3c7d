"""A chunk's result: its header and its lines, and how merging reads them as one stream sorted by item."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Required, TypedDict, final

from captionqa.client.answer import Answer
from captionqa.config.settings import AnswerSettings, fingerprint
from captionqa.errors import ResultError
from captionqa.files import read_json_lines

if TYPE_CHECKING:  # merging reads chunk results and has no use for the code of the server room
    from captionqa.server.endpoint import EndpointSummary

#: The version of the header and the lines. Raise it with each change of them: a result of another version is then
#: refused with a clear message.
FORMAT = 2


class ClientProcess(TypedDict):
    """Where a chunk's client job ran."""

    host: str
    #: Its Slurm job; None outside of Slurm.
    job: str | None


class ChunkHeader(TypedDict):
    """The first line of a chunk's result."""

    format: int
    #: The chunk's name, such as 3-of-8.
    chunk: str
    #: The fingerprint of the settings.
    fingerprint: str
    #: What decides an answer.
    settings: AnswerSettings
    #: How many lines follow, the sum of the next four.
    items: int
    #: Items that the server answered in this job: `Progress.answered`.
    asked: int
    #: Items with the answer of an identical item.
    shared: int
    #: Items whose answer was in the journal: `Progress.reused`.
    known: int
    #: Items without an answer.
    failed: int
    #: When the job began, in seconds since the epoch.
    started: float
    #: When it ended, in seconds since the epoch.
    finished: float
    #: The limit on requests in flight at the end of the job.
    concurrency: int
    client: ClientProcess
    servers: list["EndpointSummary"]


@final
class FailureRecord(TypedDict):
    """Why there is no answer."""

    #: An `errors.Reason`.
    failure: str
    detail: str


class ResultLine(TypedDict, total=False):
    """One item's outcome: an answer with its files, or a failure with its detail."""

    id: Required[str]
    answer: Answer
    #: The digests of the image files that the answer is about, in their order.
    files: list[str]
    #: The fallback's answer, or why there is none; absent where no fallback was asked for.
    fallback: Answer | FailureRecord
    #: The item whose request was identical and whose outcome this is.
    same_as: str
    #: An `errors.Reason`.
    failure: str
    detail: str


def read_chunk(path: str | Path) -> tuple[ChunkHeader, Iterator[ResultLine]]:
    """A chunk result's header and an iterator over its lines.

    Raises ResultError where the file is no chunk result of this version.
    """
    lines = read_json_lines(path)
    header = next(lines, None)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ResultError(
            f"{path} is no chunk result of this version; delete it and run again, its answers are in the journal."
        )
    return header, lines  # type: ignore[return-value]  # JSON of this format has this shape


class ChunkResults:
    """The chunk results of one final file, read as a stream: memory does not grow with the number of items.

    Raises ResultError for a chunk result that was made under other settings.
    """

    def __init__(self, paths: Sequence[str], settings: Mapping[str, Any]):
        wanted = fingerprint(settings)
        self.headers: list[ChunkHeader] = []
        self._chunks: list[Iterator[ResultLine]] = []
        for path in paths:
            header, lines = read_chunk(path)
            if header["fingerprint"] != wanted:
                raise ResultError(
                    f"{path} was made with other settings ({header['fingerprint']}, now {wanted}); run the workflow "
                    "again with the present configuration."
                )
            self.headers.append(header)
            self._chunks.append(_checked(path, header["items"], lines))

    def lines(self) -> Iterator[ResultLine]:
        """The lines of all chunks sorted by id; can be read once.

        Raises ResultError where a line is missing or an id is there twice.
        """
        merged = heapq.merge(*self._chunks, key=itemgetter("id"))
        for line, following in pairwise(chain(merged, [None])):
            if line is None:  # only the last `following` is
                return
            if following is not None and line["id"] == following["id"]:
                raise ResultError(
                    f"the item {line['id']!r} is in two chunk results; delete the chunks folder and run again."
                )
            yield line


def _checked(path: str, items: int, lines: Iterator[ResultLine]) -> Iterator[ResultLine]:
    """The lines of one chunk, unchanged; raises ResultError where they are not sorted or some are missing."""
    count, last = 0, ""
    for line in lines:
        count += 1
        if line["id"] < last:
            raise ResultError(f"{path} is not sorted; delete it and run again, its answers are in the journal.")
        last = line["id"]
        yield line
    if count != items:
        raise ResultError(
            f"{path} holds {count} of its {items} items; delete it and run again, its answers are in the journal."
        )
