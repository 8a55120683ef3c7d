"""What `forget` moves aside for one undo: the journal and the chunk results of a final file.

Both `forget` and its undo exchange the files in place with others. These others are complete in a folder of their own
before the exchange begins. An exchange that was interrupted is finished by the next command.
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

from captionqa.config.answer_files import AnswerFiles
from captionqa.files import full_disk_named, read_json, write_json

RECORD = "record.json"


class SetAsideRecord(TypedDict):
    """Beside what was moved aside."""

    #: When it was moved, in seconds since the epoch.
    time: float
    #: How many answers it has under the settings of that time.
    answers: int


class SetAside:
    """The files of one final file that are in place, and those that were moved aside."""

    def __init__(self, files: AnswerFiles):
        self.folder = files.forgotten
        #: The journal is the last: as long as it is in place, no answer is lost.
        self._in_place = (files.chunks, files.fallback, files.journal)
        #: What takes the place of the files; there only during an exchange.
        self._next = self.folder.with_suffix(".next")
        #: The same while it is being prepared.
        self._draft = self.folder.with_suffix(".draft")

    def record(self) -> SetAsideRecord | None:
        """What was moved aside; None where nothing was."""
        found: SetAsideRecord | None = read_json(self.folder / RECORD)
        return found

    def forget_all(self, answers: int) -> None:
        """Move everything aside, in the place of what was aside before."""
        self._replace(answers, [path.name for path in self._in_place], lambda draft: None)

    def forget_some(self, answers: int, fill: Callable[[Path], None], journal: Path) -> None:
        """Move the chunk results and the journal aside; `fill` writes the journal that takes its place to a folder."""
        self._replace(answers, [self._in_place[0].name, journal.name], lambda draft: fill(draft / journal.name))

    def undo(self, answers: int) -> None:
        """Exchange the files in place, which have this many answers, with those that were moved aside."""
        self.finish_exchange()
        self._write_record(self.folder, answers)
        self.folder.rename(self._next)
        self.finish_exchange()

    def finish_exchange(self) -> None:
        """Make the exchange that is prepared, or the rest of one that was interrupted; nothing where there is none."""
        if not self._next.exists():
            return
        self.folder.mkdir(exist_ok=True)
        for path in self._in_place:
            new, old = self._next / path.name, self.folder / path.name
            if new.exists():
                if not old.exists():
                    path.mkdir(parents=True, exist_ok=True)
                    path.rename(old)
                new.rename(path)
        if (self._next / RECORD).exists():
            (self._next / RECORD).rename(self.folder / RECORD)
        self._next.rmdir()

    def _replace(self, answers: int, parts: list[str], fill: Callable[[Path], None]) -> None:
        self.finish_exchange()
        with full_disk_named(self.folder.parent):
            shutil.rmtree(self._draft, ignore_errors=True)
            for part in parts:
                (self._draft / part).mkdir(parents=True)
            fill(self._draft)
            self._write_record(self._draft, answers)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._draft.rename(self._next)
        self.finish_exchange()

    def _write_record(self, folder: Path, answers: int) -> None:
        record: SetAsideRecord = {"time": time.time(), "answers": answers}
        write_json(folder / RECORD, record)
