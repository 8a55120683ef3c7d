"""The tables of Snakemake's report: accuracies with their intervals, and what ran, as an HTML file without scripts."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from captionqa.files import atomic_writer
from captionqa.page.page_lists import PageContents
from captionqa.page.single_file import hidden_folders, without_folders
from captionqa.results.metrics import GroupMetrics, QaMetrics

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>captionqa tables</title>
<style>
:root { color-scheme: light dark; }
body { margin: 24px; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 20px; }
h2 { font-size: 16px; margin: 28px 0 6px; }
table { border-collapse: collapse; }
th, td { padding: 4px 14px 4px 0; text-align: left; vertical-align: top; }
td { border-top: 1px solid #8884; unicode-bidi: isolate; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
</style>
</head>
<body>
"""
_COUNTS = ("unparsed", "truncated", "refused", "failed")


def write_tables(path: Path, contents: PageContents, metrics: Mapping[str, QaMetrics], data_set: str) -> None:
    """Write the tables of a run, or of one of its named data sets.

    `metrics` are by the labels of the page's columns, none where no questions were asked.

    Raises:
        OSError: the file cannot be written.
    """
    contents_of = without_folders({"parts": contents.parts, "model": contents.model}, hidden_folders(contents))
    model = contents_of["model"]
    models = dict.fromkeys(column["model"] for column in _questions(contents).get("columns", ()))
    title = ", ".join(models or [model["name"]]) + (f" on {data_set}" if data_set else "")
    body = [f"<h1 dir='auto'>{escape(title)}</h1>"]
    for label, each in metrics.items():
        body += _accuracies(each, f", {label}" if len(metrics) > 1 else "")
    body += _judged(contents) + _differences(contents)
    body += _table("What ran", _PARTS.values(), [[part[key] for key in _PARTS] for part in contents_of["parts"]])
    body += _table("How", ("", ""), [[key, _text(value)] for key, value in model.items()])
    with atomic_writer(path) as file:
        file.write(_HEAD + "\n".join(body) + "\n</body>\n</html>\n")


_PARTS: Mapping[str, str] = {
    "name": "file",
    "items": "items",
    "answered": "answered",
    "truncated": "truncated",
    "failed": "failed",
    "started": "started",
    "seconds": "seconds",
    "prompt_tokens": "tokens in",
    "completion_tokens": "tokens out",
    "max_tokens": "max_tokens",
    "prompt": "prompt",
}


def _accuracies(metrics: QaMetrics, of_column: str) -> list[str]:
    heads = ("", "graded", "right", "accuracy", "95 % interval", "mean score", *_COUNTS)
    overall = _row(
        "all questions",
        metrics["total_questions"] - metrics["ungraded_questions"],
        metrics["correct_answers"],
        metrics["overall_accuracy"],
        metrics["overall_accuracy_interval_95"],
        metrics["mean_score"],
        [
            metrics["unparsed_answers"],
            metrics["truncated_answers"],
            metrics["refused_answers"],
            metrics["failed_questions"],
        ],
    )
    rows = [overall]
    body = _table(f"Accuracy{of_column}; a failed question is wrong", heads, rows)
    for name in ("category", "source"):
        groups: Mapping[str, GroupMetrics] = metrics[f"{name}_metrics"]  # type: ignore[literal-required]  # one of two keys
        body += _table(f"Accuracy by {name}{of_column}", heads, [_group(*group) for group in groups.items()])
    return body


def _questions(contents: PageContents) -> Mapping[str, Any]:
    """What the page's overview says of the questions; nothing where none were asked."""
    return next((shown.index for shown in contents.lists if shown.name == "questions"), {})


def _judged(contents: PageContents) -> list[str]:
    """The figures of a judge beside those of the rules."""
    index, rows = _questions(contents), []
    for column in index.get("columns", ()):
        if metrics := column.get("judge"):
            of_judge, agreement = metrics["by_judge"], metrics["agreement"]
            shares = [_percent(metrics[by]["accuracy"]) for by in ("rules", "by_judge", "combined")]
            kappa = "–" if agreement["cohens_kappa"] is None else f"{agreement['cohens_kappa']:.2f}"
            counts = [of_judge[key] for key in ("judged", "unscored", "failed")]
            rows.append([column["label"], *shares, kappa, agreement["n"], *counts])
    heads = ("", "by the rules", "by the judge", "combined", "kappa", "n of kappa", "judged", "unscored", "failed")
    return _table(f"Answers judged by {index['judge']}", heads, rows) if rows else []


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _differences(contents: PageContents) -> list[str]:
    """The paired differences of contexts, over the questions that both answered."""
    index, rows = _questions(contents), []
    for one in index.get("differences", ()):
        a, b = (index["columns"][one[side]]["label"] for side in ("a", "b"))
        low, high = one["interval_95"]
        points = f"{100 * one['difference']:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"
        tests = f"{one['p_holm']:.2g}", f"{one['p_by_image_holm']:.2g}"
        rows.append([f"{a} - {b}", one["questions"], *points, one["only_a"], one["only_b"], *tests])
    heads = ("", "questions", "points", "95 % interval", "right in the first alone", "right in the second alone")
    return _table("Paired differences", (*heads, "p (Holm)", "p by image (Holm)"), rows) if rows else []


def _group(name: str, group: GroupMetrics) -> list[Any]:
    counts = [group["unparsed"], group["truncated"], group["refused"], group["failed"]]
    graded, interval = group["total"] - group["ungraded"], group["accuracy_interval_95"]
    return _row(name, graded, group["correct"], group["accuracy"], interval, group["mean_score"], counts)


def _row(
    name: str,
    graded: int,
    correct: int,
    accuracy: float,
    interval: Sequence[float] | None,
    score: float,
    counts: Sequence[int],
) -> list[Any]:
    between = "–" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"
    return [name, graded, correct, f"{accuracy:.1%}" if graded else "–", between, f"{score:.3f}", *counts]


def _table(title: str, heads: Iterable[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    head = "".join(f"<th scope='col'>{escape(text)}</th>" for text in heads)
    lines = [f"<h2>{escape(title)}</h2>", f"<table><thead><tr>{head}</tr></thead><tbody>"]
    return [*lines, *(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows), "</tbody></table>"]


def _cell(value: Any) -> str:
    if isinstance(value, int | float):
        return f"<td class='number'>{value:,}</td>"
    return f"<td dir='auto'>{escape(_text(value))}</td>"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "–" if value is None else str(value)
