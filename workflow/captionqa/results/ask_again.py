"""Asking again on purpose: drop failures, or answers too, so that the next run asks for them.

`retry-failed` removes the chunk results that hold failures (of a reason), and the final files above them; answers stay
in the journal. `forget` removes answers too: all of them, or those that were truncated. Neither helps where the
question file is at fault: once that is corrected, the next run takes it up by itself.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionqa.client.chunk_result import read_chunk
from captionqa.client.journal import read_lines
from captionqa.config.answer_files import AnswerFiles, journal_segments
from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings, answer_fingerprint, fingerprint
from captionqa.dataset.plan import load_plan, works
from captionqa.errors import QUESTION_FAULTS, TRUNCATED, ConfigError
from captionqa.files import atomic_writer, json_line, read_json
from captionqa.run.lease import live_lease

CAPTION_FILES = ("", "_failures", "_provenance")
QA_FILES = ("results", "metrics", "failures", "provenance", "flips")


def retry_failed(config: Config, task: Task | None, style: str | None, reason: str | None) -> int:
    """Remove the chunk results with failures, and their final files; returns how many items will be asked again.

    Raises ConfigError for a reason that asking again does not help with.
    """
    if reason in QUESTION_FAULTS:
        raise ConfigError(f"{reason} is a fault of the question file: correct it there and run again.")
    items = 0
    for target in _targets(config, task, style):
        plan = load_plan(target.layout, target.task)
        results: list[Path] = []
        failed: set[str] = set()
        for path in filter(Path.exists, map(Path, plan.results(target.files.folder, fingerprint(target.settings)))):
            _, lines = read_chunk(path)
            if ids := {line["id"] for line in lines if "failure" in line and reason in (None, line["failure"])}:
                results.append(path)
                failed |= ids
        if failed:
            _clear_suspects(target, failed)
            _remove(results + target.finals)
        items += len(failed)
    return items


def forget(config: Config, task: Task | None, style: str | None, reason: str | None) -> int:
    """Remove answers, chunk results and final files; returns how many items will be asked again.

    With the reason `truncated` only answers that ended at max_tokens go, with a failure's reason only such failures.
    """
    if reason not in (None, TRUNCATED):
        return retry_failed(config, task, style, reason)
    items = 0
    for target in _targets(config, task, style):
        settings_now = answer_fingerprint(target.settings)
        journal = journal_segments(target.files.journal)
        going = sum(_count_going(path, settings_now, reason) for path in journal)
        if going or reason is None:
            # before the journal: one that was stopped half way finds by the journal what is left to do
            shutil.rmtree(target.files.chunks, ignore_errors=True)
            _remove(target.finals)
        for path in journal:
            _rewrite(path, lambda line: not _goes(line, reason))
        if reason is None:
            shutil.rmtree(target.files.fallback, ignore_errors=True)
        items += going
    return items


def question_faults(config: Config, task: Task | None, style: str | None) -> dict[str, int]:
    """{reason: items} of the failures for which the question file is at fault, so that asking again does not help."""
    counts: Counter[str] = Counter()
    for target in _targets(config, task, style):
        if (stored := read_json(target.provenance)) is not None:
            counts.update(stored["counts"]["failures_by_reason"])
    return {reason: counts[reason] for reason in QUESTION_FAULTS if counts[reason]}


def _goes(line: Mapping[str, Any], reason: str | None) -> bool:
    """Whether a journal line is to be forgotten."""
    return reason is None or line.get("answer", {}).get("finish_reason") == "length"


def _count_going(path: Path, settings_now: str, reason: str | None) -> int:
    """How many items of a journal segment lose their answer under the present settings."""
    lines = (line for line in read_lines(path) if line["fingerprint"] == settings_now and "answer" in line)
    return len({line["id"] for line in lines if _goes(line, reason)})


def _clear_suspects(target: "_Target", ids: set[str]) -> None:
    """Forget at which crashes of a server these items were under way, so that they are not set aside unasked."""
    for path in journal_segments(target.files.journal):
        _rewrite(path, lambda line: "crashed" not in line or line["id"] not in ids)


def _rewrite(path: Path, keep: Callable[[Mapping[str, Any]], bool]) -> None:
    """Rewrite a journal segment without the lines that are not to be kept."""
    lines = list(read_lines(path))
    kept = [line for line in lines if keep(line)]
    if len(kept) < len(lines):
        with atomic_writer(path) as file:
            file.writelines(map(json_line, kept))


@dataclass(frozen=True)
class _Target:
    """One final file with its companions, the work files behind it, and its present settings."""

    layout: Layout
    task: Task
    files: AnswerFiles
    settings: AnswerSettings
    finals: list[Path]

    @property
    def provenance(self) -> Path:
        return next(path for path in self.finals if path.stem.endswith("_provenance"))


def _targets(config: Config, task: Task | None, style: str | None) -> list[_Target]:
    """What is meant by the task and the style; by neither: everything that is configured."""
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
        _Target(layout, name, AnswerFiles(work), settings_now, list(map(Path, finals[work])))
        for name in config.tasks
        if task in (None, name)
        for work, settings_now in works(config, layout, name)
        if wanted in (None, work)
    ]


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
