"""What a run found and what it has made, for a person at the terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.dataset.plan import items_to_do, load_plan, planned_tasks
from captionqa.driver.failure_report import restarts
from captionqa.files import read_json
from captionqa.results.regrading import flips_line, verdict
from captionqa.run.progress import duration


def plan_line(config: Config, layout: Layout) -> str:
    """What the plan found in the data, and how much of it is still to be asked."""
    found = []
    for task in planned_tasks(config, layout):
        plan = load_plan(layout, task)
        text = f"{plan.items:,} {'images' if task == 'captions' else 'questions'} in {len(plan.chunks)} chunks"
        text += f" ({plan.skipped_files:,} other files skipped)" if plan.skipped_files else ""
        text += f" ({plan.invalid_rows:,} more are invalid)" if plan.invalid_rows else ""
        found.append(text)
    return f"{', '.join(found)}; {items_to_do(config, layout):,} items are in chunks without a result"


def summary(config: Config, layout: Layout, seconds: float) -> str:
    """What a finished run has made, for a person."""
    rows = [f"done in {duration(seconds)}"]
    for style in config.prompt_styles:
        path = layout.captions(style.lower())
        counts = _counts(layout.captions(style.lower(), "_provenance"))
        if counts is None:  # only some of the final files were asked for
            continue
        rows.append(f"  {counts['answered']:>7,} captions {style:<8} {path}")
        rows += _failures(counts, layout.captions(style.lower(), "_failures"))
    metrics = read_json(layout.qa("metrics")) if config.qa is not None else None
    if metrics is not None:
        low, high = metrics["overall_accuracy_interval_95"]
        rows.append(f"  {metrics['answered_questions']:>7,} answers           {layout.qa('results')}")
        rows.append(
            f"          accuracy {metrics['overall_accuracy']:.1%} ({metrics['correct_answers']} of "
            f"{metrics['total_questions']}; 95 % interval {low:.1%} to {high:.1%})  {layout.qa('metrics')}"
        )
        if flips := read_json(layout.qa("flips")):
            line = flips_line(Counter(map(verdict, flips.values())), metrics["answered_questions"])
            rows.append(f"          {line}  {layout.qa('flips')}")
        rows += _failures(_counts(layout.qa("provenance")), layout.qa("failures"))
    return "\n".join([*rows, *(f"  {row}" for row in restarts(layout))])


def _counts(path: str) -> dict[str, Any] | None:
    stored = read_json(path)
    return stored and stored["counts"]


def _failures(counts: Mapping[str, Any], path: str) -> Sequence[str]:
    if not counts["failed"]:
        return []
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts["failures_by_reason"].items())
    return [f"  {counts['failed']:>7,} failed: {reasons}  {path}"]
