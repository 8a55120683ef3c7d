"""Forgetting answers: `forget` moves the journal and the chunk results of final files aside, and brings them back.

The final files stay until the next run replaces them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from captionqa.client.journal import JournalLine, read_lines
from captionqa.config.config import Config, Task
from captionqa.config.settings import answer_fingerprint
from captionqa.errors import ConfigError
from captionqa.files import atomic_writer, checked_line
from captionqa.results.result_set import ResultSet, selected_results
from captionqa.results.set_aside import SetAside


@dataclass(frozen=True)
class _Change:
    """What happens to one final file."""

    selected: ResultSet
    aside: SetAside
    #: Answers that its journal has under the present settings.
    answers: int
    #: How many of them are forgotten.
    forgotten: int


@dataclass(frozen=True)
class Forgetting:
    """What `forget` is going to do; `apply` does it."""

    _changes: list[_Change]
    #: Whether only answers that ended at max_tokens are forgotten.
    _only_truncated: bool

    @property
    def items(self) -> int:
        """How many items will be asked again."""
        return sum(change.forgotten for change in self._changes)

    @property
    def has_effect(self) -> bool:
        return bool(self._changes)

    def text(self) -> str:
        if not self._changes:
            return "There is nothing to forget."
        which = "truncated answers" if self._only_truncated else "answers"
        lines = [f"The next run will ask again for {self.items:,} {which}:"]
        for change in self._changes:
            lines.append(f"  {change.selected.name}: {change.forgotten:,} of {change.answers:,} answers")
            lines.append(f"    their journal and chunk results are moved to {change.aside.folder}")
            if (record := change.aside.record()) is not None:
                lines.append(
                    f"    which deletes for good the {record['answers']:,} answers that were moved there on "
                    f"{_date(record['time'])}"
                )
        lines.append("Final files stay until the next run replaces them. forget --undo brings the answers back.")
        return "\n".join(lines)

    def apply(self) -> int:
        """Do it; returns how many items will be asked again."""
        for change in self._changes:
            change.selected.files.let_merge_run()
            if self._only_truncated:
                segments = change.selected.journal
                journal = change.selected.files.journal
                change.aside.forget_some(change.answers, partial(_copy_untruncated, segments), journal)
            else:
                change.aside.forget_all(change.answers)
        return self.items


@dataclass(frozen=True)
class Undo:
    """What `forget --undo` is going to do; `apply` does it."""

    _changes: list[_Change]

    def text(self) -> str:
        lines = []
        for change in self._changes:
            record = change.aside.record()
            assert record is not None, "only final files with something aside are chosen"
            lines.append(
                f"{change.selected.name}: the {record['answers']:,} answers that were moved aside on "
                f"{_date(record['time'])} are back; the {change.answers:,} that were here are aside now, and "
                "forget --undo exchanges them again."
            )
        return "\n".join(lines)

    def apply(self) -> None:
        for change in self._changes:
            change.selected.files.let_merge_run()
            change.aside.undo(change.answers)


def forget(
    config: Config, task: Task | None, style: str | None, only_truncated: bool = False, model: str | None = None
) -> Forgetting:
    """What forgetting answers takes; None for `task`, `style` or `model` means all of them.

    Raises:
        ConfigError: the style is not configured, or a run is going on.
    """
    changes = []
    for selected in selected_results(config, task, style, model):
        aside = SetAside(selected.files)
        aside.finish_exchange()
        answers, truncated = _count_answers(selected)
        forgotten = truncated if only_truncated else answers
        # without a line under the present settings there may be others, and chunk results
        stored = selected.journal or any(selected.files.chunks.glob("*"))
        if forgotten or (stored and not only_truncated):
            changes.append(_Change(selected, aside, answers, forgotten))
    return Forgetting(changes, only_truncated)


def undo_forget(config: Config, task: Task | None, style: str | None, model: str | None = None) -> Undo:
    """What bringing back takes of what `forget` last moved aside.

    Raises:
        ConfigError: nothing was moved aside, the style is not configured, or a run is going on.
    """
    changes = []
    for selected in selected_results(config, task, style, model):
        aside = SetAside(selected.files)
        aside.finish_exchange()
        if aside.record() is not None:
            changes.append(_Change(selected, aside, _count_answers(selected)[0], forgotten=0))
    if not changes:
        raise ConfigError("there is nothing to undo: forget moved nothing aside here.")
    return Undo(changes)


def _count_answers(selected: ResultSet) -> tuple[int, int]:
    """How many items have an answer under the present settings, and of how many it ended at max_tokens."""
    current = answer_fingerprint(selected.settings)
    answers = truncated = 0
    for path in selected.journal:  # an item is in one segment alone
        lines = (line for line in read_lines(path) if line["fingerprint"] == current and "answer" in line)
        newest = {line["id"]: _is_truncated(line) for line in lines}
        answers += len(newest)
        truncated += sum(newest.values())
    return answers, truncated


def _is_truncated(line: JournalLine) -> bool:
    return "answer" in line and line["answer"]["finish_reason"] == "length"


def _copy_untruncated(segments: Iterable[Path], folder: Path) -> None:
    """Write the segments to a folder without the answers that ended at max_tokens."""
    for path in segments:
        with atomic_writer(folder / path.name) as file:
            file.writelines(checked_line(line) for line in read_lines(path) if not _is_truncated(line))


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
