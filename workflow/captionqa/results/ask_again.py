"""Asking again for what failed: `retry-failed` removes chunk results that hold failures.

Answers stay in the journal, and final files until the next run replaces them. A fault of the question file is not asked
again: once the file is corrected, the next run notices by itself. Nor is an item whose image is still missing, or still
outside of the data set, or a question whose caption is: it would fail again without a request.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from captionqa.client.chunk_result import ResultLine, read_chunk
from captionqa.client.journal import JournalLine, read_lines
from captionqa.client.question_captions import QuestionCaptions
from captionqa.config.config import Config, Task
from captionqa.dataset.caption_links import CaptionLinks
from captionqa.dataset.question_repeats import shown_id
from captionqa.errors import DATA_FAULTS, QUESTION_FAULTS, ConfigError, ItemFailure, Reason
from captionqa.files import atomic_writer, checked_line, read_json, read_json_lines
from captionqa.results.result_set import ResultSet, selected_results
from captionqa.run.progress import counted

#: Names of items that are left to fail, in a text.
NAMES_SHOWN = 3
#: Stands for the reason of a question whose caption failed, and is not asked again.
CAPTION_FAILED = "whose caption failed"
#: What helps an item that would fail again; the next run notices an image that was put in its place by itself.
REMEDIES: Mapping[str, str] = {
    Reason.MISSING_IMAGE: "put the files in their places, or correct the questions, and run again",
    Reason.PATH_OUTSIDE_DATASET: "add their folder to client.images.allowed_roots and call this again",
    Reason.MISSING_CAPTION: "caption their images, or put captions into the file of qa.captions_from, and run again",
    CAPTION_FAILED: "let their captions be asked again too, without --task qa",
}


@dataclass
class Retry:
    """What `retry-failed` is going to do; `apply` does it."""

    #: {reason: items} that will be asked again.
    again: Counter[str] = field(default_factory=Counter)
    #: {reason: ids} of items that would fail again the same way.
    left: dict[str, list[str]] = field(default_factory=dict)
    #: (result set, its chunk results to remove, ids of the failures in these) of each that changes.
    _changes: list[tuple[ResultSet, list[Path], set[str]]] = field(default_factory=list)

    @property
    def items(self) -> int:
        """How many items will be asked again."""
        return self.again.total()

    def text(self) -> str:
        lines = [f"{counted(self.items, 'failed item')} will be asked again by the next run"]
        if self.again:
            results = sum(len(paths) for _, paths, _ in self._changes)
            lines[0] += f": {counted_reasons(self.again)}"
            lines.append(
                f"This removes the results of {counted(results, 'chunk')}. Answers stay, and the final files stay as "
                "they are until the next run replaces them."
            )
        else:
            lines[0] += "."
        for reason, ids in self.left.items():
            different = list(dict.fromkeys(ids))  # of several contexts an item may be in each
            names = ", ".join(repr(shown_id(item)) for item in different[:NAMES_SHOWN]) + (
                ", ..." if len(different) > NAMES_SHOWN else ""
            )
            what = f"{len(ids):,} {reason} ({names}); {REMEDIES[reason]}"
            lines.append(f"Left, since they would fail the same way: {what}.")
        return "\n".join(lines)

    def add(self, selected: ResultSet, reason: str | None) -> None:
        """Look for failures to ask again among the results of one final file."""
        if not any(selected.files.chunks.glob("*")):  # nor is there a plan, perhaps, as of a data set that is new
            return
        layout, context = selected.layout, selected.file.context
        links = None if context is None else CaptionLinks.of(selected.config, layout, context)
        plan, lists = selected.file.plan(layout), selected.file.item_lists(layout)
        results = selected.file.results(selected.config, layout)
        removed = {str(path) for _, earlier, _ in self._changes for path in earlier}
        paths: list[Path] = []
        ids: set[str] = set()
        for chunk, items, name in zip(plan.chunks, lists, results, strict=True):
            if not (path := Path(name)).exists():
                continue
            _, lines = read_chunk(path)
            failed = [line for line in lines if "failure" in line and reason in (None, line["failure"])]
            held = [] if links is None else links.paths[chunk.number]
            left = _faulty_still(items, failed, selected, held, not removed.isdisjoint(held))
            again = [line for line in failed if line["id"] not in left]
            for item, failure in left.items():
                self.left.setdefault(failure, []).append(item)
            if again:
                self.again.update(line["failure"] for line in again)
                paths.append(path)
                ids.update(line["id"] for line in again)
        if ids:
            self._changes.append((selected, paths, ids))

    def apply(self) -> int:
        """Do it; returns how many items will be asked again."""
        for selected, paths, ids in self._changes:
            selected.files.let_merge_run()
            _forget_crashes(selected, ids)
            for path in paths:
                selected.files.decoding(path.name.partition(".")[0]).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
        return self.items


def retry_failed(
    config: Config, task: Task | None, style: str | None, reason: str | None, model: str | None = None
) -> Retry:
    """What asking again for failures takes; None for `task`, `style`, `reason` or `model` means all of them.

    Raises:
        ConfigError: asking again does not help with this reason, the style or the model is not configured, or a
            run is going on.
    """
    if reason in QUESTION_FAULTS:
        raise ConfigError(f"{reason} is a fault of the question file: correct it there and run again.")
    retry = Retry()
    for selected in selected_results(config, task, style, model):
        retry.add(selected, reason)
    return retry


def question_faults(config: Config, task: Task | None, style: str | None, model: str | None = None) -> dict[str, int]:
    """{reason: questions} of the failures that only a corrected question file helps with.

    Raises:
        ConfigError: the style is not configured, or a run is going on.
    """
    #: {data set: questions by reason}: all its models and contexts have the same faults.
    of_data_set: dict[str, Counter[str]] = defaultdict(Counter)
    for selected in selected_results(config, task, style, model):
        if (stored := read_json(selected.file.provenance)) is not None:
            of_data_set[selected.config.data_set] |= Counter(stored["counts"]["failures_by_reason"])
    counts = sum(of_data_set.values(), Counter[str]())
    return {reason: counts[reason] for reason in QUESTION_FAULTS if counts[reason]}


def counted_reasons(counts: Counter[str]) -> str:
    return ", ".join(f"{items:,} {reason}" for reason, items in sorted(counts.items()))


def _filter_lines(path: Path, keep: Callable[[JournalLine], bool]) -> None:
    """Rewrite a journal segment with only the lines to keep."""
    lines = list(read_lines(path))
    kept = [line for line in lines if keep(line)]
    if len(kept) < len(lines):
        with atomic_writer(path) as file:
            file.writelines(map(checked_line, kept))


def _faulty_still(
    items: str, failed: Iterable[ResultLine], selected: ResultSet, held: Sequence[str], captions_again: bool
) -> dict[str, str]:
    """{id: key of REMEDIES} of the failed items that would fail again without a request.

    `held` are the files that hold the captions of questions; `captions_again` is whether failures in them are asked
    again.
    """
    faulty = {line["id"] for line in failed if held or line["failure"] in DATA_FAULTS}
    if not faulty or not all(map(os.path.exists, held)):  # with which captions is not known yet
        return {}
    context, captions = selected.file.context, None
    if held and context is not None:
        captions = QuestionCaptions.read(selected.config, selected.layout, context, Path(items), held)
    found: dict[str, str] = {}
    for entry in read_json_lines(items):
        if entry["id"] in faulty:
            try:
                selected.checker.item(entry, captions)
            except ItemFailure as failure:
                if failure.reason in REMEDIES:
                    found[entry["id"]] = failure.reason
                elif captions is not None and not captions_again:
                    found[entry["id"]] = CAPTION_FAILED
    return found


def _forget_crashes(selected: ResultSet, ids: set[str]) -> None:
    """Remove from the journal that these items were in flight when a server crashed.

    Otherwise they would fail again without being asked.
    """
    for path in selected.journal:
        _filter_lines(path, lambda line: "crashed" not in line or line["id"] not in ids)
