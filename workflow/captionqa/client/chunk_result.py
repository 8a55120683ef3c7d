"""Chunk results as merging reads them: checked against the settings, and as one stream sorted by item."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

from captionqa.config.settings import fingerprint
from captionqa.errors import ResultError
from captionqa.files import read_json_lines

#: What a chunk result's lines hold; changes with them, so that another version's result is refused in words.
FORMAT = 2


def read_chunk(path: str | Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """A chunk result's header and an iterator over its lines."""
    lines = read_json_lines(path)
    header = next(lines, None)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ResultError(
            f"{path} is no chunk result of this version; delete it and run again, its answers are in the journal."
        )
    return header, lines


class ChunkResults:
    """The chunk results of one final file; what is in memory does not grow with the number of their items.

    Raises ResultError for a chunk result that was made under other settings.
    """

    def __init__(self, paths: Sequence[str], settings: Mapping[str, Any]):
        wanted = fingerprint(settings)
        self.headers: list[dict[str, Any]] = []
        self._chunks: list[Iterator[dict[str, Any]]] = []
        for path in paths:
            header, lines = read_chunk(path)
            if header["fingerprint"] != wanted:
                raise ResultError(
                    f"{path} was made with other settings ({header['fingerprint']}, now {wanted}); run the workflow "
                    "again with the present configuration."
                )
            self.headers.append(header)
            self._chunks.append(_whole(path, header["items"], lines))

    def lines(self) -> Iterator[dict[str, Any]]:
        """The lines of all chunks sorted by id, once; raises ResultError where one is missing or an id is twice."""
        merged = heapq.merge(*self._chunks, key=itemgetter("id"))
        for line, following in pairwise(chain(merged, [None])):
            if following is not None and line["id"] == following["id"]:
                raise ResultError(
                    f"the item {line['id']!r} is in two chunk results; delete the chunks folder and run again."
                )
            yield line


def _whole(path: str, items: int, lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The lines of one chunk as they are; raises ResultError where they are not sorted, or some are missing."""
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
