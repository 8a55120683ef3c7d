"""All items of a list in an unnamed file, for a page of any number of them: memory holds only where each one is."""

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from captionqa.external_sort import BlockFile, Extent
from captionqa.page.sample import Kind


class ItemSpool(Sequence[Any]):
    """Items as they come, or in the order of a key; safe to read from several threads.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """

    def __init__(self, folder: Path):
        self._file = BlockFile(folder)
        self._extents: list[Extent] = []
        self._lock = threading.Lock()

    def add(self, kind: Kind, name: str, item: Any) -> None:
        """Keep an item, whatever it is."""
        self._extents.append(self._file.append(json.dumps(item).encode()))

    def shares(self) -> dict[Kind, tuple[int, int]]:
        """Nothing is left out."""
        return {}

    def ordered(self, key: Callable[[Any], Any]) -> Sequence[Any]:
        """The items, sorted by a key."""
        keys = [key(item) for item in self]
        self._extents = [self._extents[number] for number in sorted(range(len(keys)), key=keys.__getitem__)]
        return self

    def __len__(self) -> int:
        return len(self._extents)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self._read(extent) for extent in self._extents[number]]
        return self._read(self._extents[number])

    def _read(self, extent: Extent) -> Any:
        with self._lock:
            data = self._file.read(extent)
        return json.loads(data)
