"""Asking again on purpose: remove failures, or answers too, so that the next run asks for them.

`retry-failed` removes the chunk results that hold failures, and the final files above them; answers stay in the
journal. `forget` removes answers too: all of them, or those that were truncated. Neither helps with a fault of the
question file: once the file is corrected, the next run notices by itself.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from captionqa.client.chunk_result import read_chunk
from captionqa.client.journal import JournalLine, read_lines
from captionqa.config.answer_files import AnswerFiles, journal_segments
from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings, answer_fingerprint, fingerprint
from captionqa.dataset.plan import load_plan, work_folders
from captionqa.errors import QUESTION_FAULTS, TRUNCATED, ConfigError
from captionqa.files import atomic_writer, checked_line, read_json
from captionqa.run.lease import live_lease

CAPTION_FILES = ("", "_failures", "_provenance")
QA_FILES = ("results", "metrics", "failures", "provenance", "flips")


@dataclass(frozen=True)
class _ResultSet:
    """All stored results of one final file."""

    layout: Layout
    task: Task
    #: Its journals and chunk results.
    files: AnswerFiles
    #: What decides its requests, as configured now.
    settings: AnswerSettings
    #: The final file and its companions.
    finals: list[Path]

    @property
    def provenance(self) -> Path:
        return next(path for path in self.finals if path.stem.endswith("_provenance"))

    @property
    def journal(self) -> list[Path]:
        """The segments of the journal of answers."""
        return journal_segments(self.files.journal)


def retry_failed(config: Config, task: Task | None, style: str | None, reason: str | None) -> int:
    """Remove the chunk results with failures, and their final files; returns how many items will be asked again.

    None for `task`, `style` or `reason` means all of them.

    Raises:
        ConfigError: asking again does not help with this reason, the style is not configured, or a run is going on.
    """
    if reason in QUESTION_FAULTS:
        raise ConfigError(f"{reason} is a fault of the question file: correct it there and run again.")
    items = 0
    for selected in _selected(config, task, style):
        plan = load_plan(selected.layout, selected.task)
        results: list[Path] = []
        failed: set[str] = set()
        for path in map(Path, plan.results(selected.files.folder, fingerprint(selected.settings))):
            if not path.exists():
                continue
            _, lines = read_chunk(path)
            if ids := {line["id"] for line in lines if "failure" in line and reason in (None, line["failure"])}:
                results.append(path)
                failed |= ids
        if failed:
            _forget_crashes(selected, failed)
            _remove(results + selected.finals)
        items += len(failed)
    return items


def forget(config: Config, task: Task | None, style: str | None, reason: str | None) -> int:
    """Remove answers, chunk results and final files; returns how many items will be asked again.

    None for `task`, `style` or `reason` means all of them. With the reason `truncated` only answers that ended at
    max_tokens are removed, with a failure's reason only such failures.

    Raises:
        ConfigError: as for `retry_failed`.
    """
    if reason not in (None, TRUNCATED):
        return retry_failed(config, task, style, reason)
    items = 0
    for selected in _selected(config, task, style):
        current = answer_fingerprint(selected.settings)
        segments = selected.journal
        forgotten = sum(_count_forgotten(path, current, reason) for path in segments)
        if forgotten or reason is None:
            # before the journal: where forgetting is interrupted, the journal still shows what is left to forget
            shutil.rmtree(selected.files.chunks, ignore_errors=True)
            _remove(selected.finals)
        for path in segments:
            _filter_lines(path, lambda line: not _is_forgotten(line, reason))
        if reason is None:
            shutil.rmtree(selected.files.fallback, ignore_errors=True)
        items += forgotten
    return items


def question_faults(config: Config, task: Task | None, style: str | None) -> dict[str, int]:
    """{reason: items} of the failures that only a corrected question file helps with.

    Raises:
        ConfigError: the style is not configured, or a run is going on.
    """
    counts: Counter[str] = Counter()
    for selected in _selected(config, task, style):
        if (stored := read_json(selected.provenance)) is not None:
            counts.update(stored["counts"]["failures_by_reason"])
    return {reason: counts[reason] for reason in QUESTION_FAULTS if counts[reason]}


def _is_forgotten(line: JournalLine, reason: str | None) -> bool:
    """Whether `forget` removes a journal line."""
    return reason is None or ("answer" in line and line["answer"]["finish_reason"] == "length")


def _count_forgotten(path: Path, current: str, reason: str | None) -> int:
    """How many items of a journal segment lose the answer that they have under the current settings."""
    lines = (line for line in read_lines(path) if line["fingerprint"] == current and "answer" in line)
    return len({line["id"] for line in lines if _is_forgotten(line, reason)})


def _forget_crashes(selected: _ResultSet, ids: set[str]) -> None:
    """Remove from the journal that these items were in flight when a server crashed.

    Otherwise they would fail again without being asked.
    """
    for path in selected.journal:
        _filter_lines(path, lambda line: "crashed" not in line or line["id"] not in ids)


def _filter_lines(path: Path, keep: Callable[[JournalLine], bool]) -> None:
    """Rewrite a journal segment with only the lines to keep."""
    lines = list(read_lines(path))
    kept = [line for line in lines if keep(line)]
    if len(kept) < len(lines):
        with atomic_writer(path) as file:
            file.writelines(map(checked_line, kept))


def _selected(config: Config, task: Task | None, style: str | None) -> list[_ResultSet]:
    """The result sets of a task and a prompt style; None means all that are configured.

    Raises:
        ConfigError: the style is not configured, or a run is going on.
    """
    layout = Layout(config.output_dir, config.model_name)
    if live_lease(layout.server) is not None:
        raise ConfigError(f"a run works on {config.output_dir} now; wait for it or stop it first.")
    styles = [name.lower() for name in config.prompt_styles]
    if style is not None and style.lower() not in styles:
        raise ConfigError(f"{style!r} is none of the configured styles: {', '.join(sorted(styles)) or 'none'}.")
    finals = {layout.captions_work(name): [layout.captions(name, end) for end in CAPTION_FILES] for name in styles}
    finals[layout.qa_work] = [layout.qa(kind) for kind in QA_FILES]
    wanted = None if style is None else layout.captions_work(style.lower())
    return [
        _ResultSet(layout, name, AnswerFiles(work), settings_now, list(map(Path, finals[work])))
        for name in config.tasks
        if task in (None, name)
        for work, settings_now in work_folders(config, layout, name)
        if wanted in (None, work)
    ]


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
