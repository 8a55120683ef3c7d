"""A chunk's result: its header and its lines, and how merging reads them as one stream sorted by item."""

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Required, TypedDict, final

from captionqa.client.answer import Answer, is_answer
from captionqa.client.text_figures import TextFigures
from captionqa.config.settings import AnswerSettings, fingerprint
from captionqa.errors import ResultError
from captionqa.files import AnyPath, checked_line, large_file_writer, read_checked_lines

if TYPE_CHECKING:  # merging reads chunk results and has no use for the code of the server room
    from captionqa.server.endpoint import EndpointSummary

#: The version of the header and the lines. Raise it with each change of them: a result of another version is then
#: refused with a clear message.
FORMAT = 3
#: The version before, whose lines have no checksums; its results are still read.
UNCHECKED_FORMAT = 2


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
    #: Of a caption's text as `final_text.caption_text` reads it; absent in the results of earlier versions.
    figures: TextFigures
    #: The fallback's answer, or why there is none; absent where no fallback was asked for.
    fallback: Answer | FailureRecord
    #: The item whose request was identical and whose outcome this is.
    same_as: str
    #: An `errors.Reason`.
    failure: str
    detail: str


def write_chunk(path: AnyPath, header: ChunkHeader, lines: Iterable[ResultLine]) -> None:
    """Write a chunk's result, atomically; the lines are sorted by id. Raises DiskFullError or another OSError."""
    with large_file_writer(path) as file:
        file.write(checked_line(header))
        file.writelines(map(checked_line, lines))


def read_chunk(path: AnyPath) -> tuple[ChunkHeader, Iterator[ResultLine]]:
    """A chunk result's header and an iterator over its lines, which raises ResultError at a damaged one.

    Raises ResultError where the file is no chunk result of a version that is known here.
    """
    lines = read_checked_lines(path)
    header, is_checked = next(lines, (None, False))
    if not is_checked:
        is_known = header is not None and header.get("format") == UNCHECKED_FORMAT and _has_header_form(header)
    else:
        is_known = header is not None and header.get("format") == FORMAT
    if not is_known:
        raise ResultError(
            f"{path} is no chunk result of this version, or damaged; delete it and run again, its answers are in the "
            "journal."
        )
    return header, _sound(path, lines, is_checked)  # type: ignore[return-value]  # JSON of this format has this shape


def _sound(path: AnyPath, lines: Iterable[tuple[Any, bool]], must_be_checked: bool) -> Iterator[ResultLine]:
    """The lines below a header; raises ResultError at a damaged one."""
    for number, (line, is_checked) in enumerate(lines, 2):
        if line is None or not (is_checked if must_be_checked else _has_line_form(line)):
            raise ResultError(
                f"{path} is damaged in line {number}; delete it and run again, its answers are in the journal."
            )
        yield line


def _has_header_form(header: dict[str, Any]) -> bool:
    """Whether a header that no checksum proves has what is read from it."""
    return (
        all(isinstance(header.get(name), int) for name in ("items", "failed"))
        and all(isinstance(header.get(name), int | float) for name in ("started", "finished"))
        and isinstance(header.get("fingerprint"), str)
        and isinstance(header.get("client"), dict)
        and isinstance(header.get("servers"), list)
    )


def _has_line_form(line: dict[str, Any]) -> bool:
    """Whether a line that no checksum proves has the form of an outcome."""
    if not isinstance(line.get("id"), str):
        return False
    if "answer" not in line:
        return isinstance(line.get("failure"), str) and isinstance(line.get("detail"), str)
    files, fallback = line.get("files"), line.get("fallback")
    return (
        is_answer(line["answer"])
        and isinstance(files, list)
        and all(isinstance(digest, str) for digest in files)
        and (
            fallback is None
            or is_answer(fallback)
            or (isinstance(fallback, dict) and {"failure", "detail"} <= fallback.keys())
        )
    )


class ChunkResults:
    """The chunk results of one final file, read as a stream: memory does not grow with the number of items.

    Raises ResultError for a chunk result that was made under other settings.
    """

    def __init__(self, paths: Sequence[str], settings: Mapping[str, Any]):
        wanted = fingerprint(settings)
        self._paths = paths
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
                folder = os.path.dirname(self._paths[0])
                raise ResultError(f"the item {line['id']!r} is in two chunk results; delete {folder} and run again.")
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
