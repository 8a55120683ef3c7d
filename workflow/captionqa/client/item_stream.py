"""The items of a chunk, read from its list one after another: memory does not grow with their number or their texts."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


#: Which of the segments that are left comes next, by those that are left and the one before, -1 at first.
NextSegment = Callable[[list[int], int], int]


@dataclass
class _Segment:
    """What a list has in one segment of the journal."""

    #: How many of the list's items come before it.
    begins: int
    #: How many of the list's images do.
    images_before: int
    items: int = 0


def following(left: list[int], last: int) -> int:
    """The first segment after the last one; the first of all where there is none."""
    return next((number for number in left if number > last), left[0])


class ItemStream:
    """The items of one list, by segments of the journal; `len` is how many there are."""

    def __init__(self, path: Path):
        self._path = path
        #: By the number of the segment; the list is sorted, so each segment comes once.
        self._segments: dict[int, _Segment] = {}
        self._len = images = 0
        last = None
        for entry in read_json_lines(path):
            segment = _segment(entry)
            image = (segment, image_of(entry))
            found = self._segments.setdefault(segment, _Segment(self._len, images))
            found.items += 1
            self._len += 1
            images += image != last
            last = image

    def __len__(self) -> int:
        return self._len

    def images_before(self, segment: int) -> int:
        """How many images are in the segments before one that has items; those that come again later count again."""
        return self._segments[segment].images_before

    def segments(self, choose: NextSegment = following) -> Iterator[tuple[int, int, Iterator[ItemEntry]]]:
        """(segment of the journal, how many items it has, the items), all of which have to be read in this order."""
        left, last, at = list(self._segments), -1, len(self)
        entries: Iterator[ItemEntry] = iter(())
        while left:
            last = choose(left, last)
            left.remove(last)
            segment = self._segments[last]
            if segment.begins < at:
                entries, at = _with_shared_texts(read_json_lines(self._path)), 0
            deque(islice(entries, segment.begins - at), 0)
            yield last, segment.items, islice(entries, segment.items)
            at = segment.begins + segment.items


def image_of(entry: ItemEntry) -> object:
    """What tells the images of one item from those of another."""
    return entry.get("images") or entry["id"]


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
