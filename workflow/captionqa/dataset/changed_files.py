"""Files that a chunk did not find as they were planned, and what the next plan makes of them.

A chunk's result is named by the stamps of its plan. Where the chunk read another file, which had come in the planned
one's place, the result is about that other file. Once the planned one is put back, its stamp is as planned again, and
only this record tells that the result is about something else. The next plan counts it in the stamp, so that the chunk
gets another name and runs again.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from captionqa.dataset.image_format import DECODING_VERSION, is_decoded_anew
from captionqa.dataset.item_entry import Stamp
from captionqa.files import atomic_writer, checked_line, read_checked_lines

#: The folder of the records, beside the item lists that they are about.
FOLDER = "changed"


class ChangedFiles:
    """The files that one chunk did not find as planned; safe to share between threads."""

    def __init__(self) -> None:
        self._found: set[tuple[str, tuple[int, ...]]] = set()

    def __len__(self) -> int:
        return len(self._found)

    def add(self, name: str, stamp: Sequence[int]) -> None:
        """`stamp` is the planned one."""
        self._found.add((name, tuple(stamp)))

    def first(self) -> str:
        """The name of one of them."""
        return min(self._found)[0]

    def save(self, items: Path, result: Path) -> None:
        """Record them for the next plan; `items` is the chunk's item list. Raises DiskFullError or another OSError."""
        with atomic_writer(items.parent / FOLDER / result.name) as file:
            file.writelines(checked_line({"name": name, "stamp": stamp}) for name, stamp in sorted(self._found))


class ChangeCounts:
    """How often a file, by its name and its stamp, was not found as planned: {(name, size, time of change): times}."""

    def __init__(self, folder: str):
        """`folder` is that of a task's item lists."""
        self._times: dict[tuple[str, int, int], int] = {}
        records = Path(folder) / FOLDER
        for record in sorted(os.listdir(records)) if records.is_dir() else ():
            for line, is_checked in read_checked_lines(records / record):
                if line is not None and is_checked:
                    size, time_ns, *before = line["stamp"]
                    times = before[0] + 1 if before else 1
                    self._times[line["name"], size, time_ns] = max(
                        times, self._times.get((line["name"], size, time_ns), 0)
                    )

    def __repr__(self) -> str:
        """Equal for equal counts: part of the state of a plan."""
        return repr(sorted(self._times.items()))

    def planned(self, name: str, stamp: Stamp | None) -> tuple[int, ...] | None:
        """The stamp to plan for a file with this name and stamp.

        Beside how often it changed, that of a file whose picture may be another since a version of the decoding has
        that version.
        """
        if stamp is None:
            return None
        times = self._times.get((name, *stamp), 0)
        if is_decoded_anew(name):
            return (*stamp, times, DECODING_VERSION)
        return (*stamp, times) if times else stamp
