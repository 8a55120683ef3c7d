"""Names that are unique: of records whose first choice is the same each gets its second, and else a digest."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from captionqa.dataset.image_format import has_image_suffix
from captionqa.export.caption_stream import SORTED_RECORDS
from captionqa.external_sort import ExternalSort

DIGEST_BYTES = 8

#: A record's id, which no other has, and what belongs to it: JSON values.
Record = tuple[str, Any]


def unique_names(
    records: Iterable[Record],
    first_choice: Callable[[str], str],
    second_choice: Callable[[str], str],
    scratch: Path,
) -> Iterator[tuple[str, Record]]:
    """Yield (name, record), sorted by name. Names that differ in case alone count as the same.

    `first_choice` and `second_choice` make a name of an id. Memory does not grow with the number of records.
    """
    with ExternalSort(scratch, SORTED_RECORDS) as first, ExternalSort(scratch, SORTED_RECORDS) as second:
        for identity, content in records:
            name = first_choice(identity)
            first.add((name.casefold(), identity, name, content))
        for is_shared, (_, identity, name, content) in _shared(first):
            chosen = second_choice(identity) if is_shared else name
            second.add((chosen.casefold(), identity, chosen, content))
        for is_shared, (_, identity, name, content) in _shared(second):
            yield f"{name}-{name_digest(identity)}" if is_shared else name, (identity, content)


def without_suffix(name: str) -> str:
    """A name without the suffix of an image file."""
    return name[: name.rfind(".")] if has_image_suffix(name) and not name.rpartition("/")[2].startswith(".") else name


def _shared(records: ExternalSort) -> Iterator[tuple[bool, tuple[Any, ...]]]:
    """(whether another record has the same first field, record)."""
    before = None
    for record, following in pairwise(chain(records, [None])):
        if record is None:  # only the last `following` is
            return
        yield record[0] == before or (following is not None and following[0] == record[0]), record
        before = record[0]


def name_digest(identity: str) -> str:
    """Sixteen hexadecimal digits of an id."""
    return hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
