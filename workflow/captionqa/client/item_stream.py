"""The items of a chunk, read from its list one after another: memory does not grow with their number or their texts."""

from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from captionqa.client.journal import segment_of
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.places import entry_place
from captionqa.files import read_json_lines

#: Questions of at least this many characters are kept once where several items ask them.
LONG_TEXT = 10_000
#: How many such questions are remembered, so that the next item that asks one shares it.
REMEMBERED_TEXTS = 8


class ItemStream:
    """The items of one list, in the order of their places; `len` is how many there are."""

    def __init__(self, path: Path):
        self._path = path
        #: {segment of the journal: its items}; the list is sorted, so each segment comes once.
        self._counts = Counter(map(_segment, read_json_lines(path)))

    def __len__(self) -> int:
        return self._counts.total()

    def segments(self) -> Iterator[tuple[int, int, Iterator[ItemEntry]]]:
        """(segment of the journal, how many items it has, the items), all of which have to be read in this order."""
        entries = _with_shared_texts(read_json_lines(self._path))
        for segment, count in self._counts.items():
            yield segment, count, islice(entries, count)


def _segment(entry: ItemEntry) -> int:
    return segment_of(entry_place(entry))


def _with_shared_texts(entries: Iterator[ItemEntry]) -> Iterator[ItemEntry]:
    """The same entries; equal long questions that come soon after one another are one object."""
    texts: deque[str] = deque(maxlen=REMEMBERED_TEXTS)
    for entry in entries:
        question = entry.get("question")
        if question is not None and len(question) >= LONG_TEXT:
            known = next((text for text in texts if text == question), None)
            if known is None:
                texts.append(question)
            else:
                entry["question"] = known
        yield entry
