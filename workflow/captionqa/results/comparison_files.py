"""The files of the comparison: JSON with everything, CSV with a row for each figure, Markdown to read."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from captionqa.files import atomic_writer, write_json
from captionqa.results.answer_sets import AnswerSet
from captionqa.results.comparison import compare_contexts
from captionqa.results.comparison_records import Cell, Comparison, Difference, PairedDifference, Tested
from captionqa.shown_text import printable

#: The tests of a difference: their keys, and how the tables call them.
TESTS = {"p": "p", "p_holm": "p (Holm)", "p_by_image": "p by image", "p_by_image_holm": "p by image (Holm)"}
#: The columns of the CSV.
COLUMNS = (
    *("model", "context", "a", "b", "category", "measure", "questions", "images", "estimate", "low_95", "high_95"),
    *(*TESTS, "failed", "ungraded", "only_a_correct", "only_b_correct"),
    # the model that made the captions where another answers from them; of B: the model, where it is not that of A
    *("captioner", "model_b", "captioner_b"),
)
NAMES = ("captioner", "model_b", "captioner_b")
#: The heads of a table of differences, below those that name the rows.
PAIRED = ("questions", "images", "points", "interval", "only A right", "only B right", *TESTS.values())


def write_comparison(answer_sets: Sequence[AnswerSet], json_path: str, csv_path: str, markdown_path: str) -> None:
    """Compare the contexts and the models, and write the three files.

    Raises:
        ResultError: as for `compare_contexts`.
    """
    comparison = compare_contexts(answer_sets)
    write_json(json_path, comparison)
    with atomic_writer(csv_path) as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rows(comparison))
    with atomic_writer(markdown_path) as file:
        file.write("\n".join(_markdown(comparison)) + "\n")


def _rows(comparison: Comparison) -> Iterator[Mapping[str, Any]]:
    """The rows of the CSV: of each cell and each difference, first over all questions, then by category."""
    for cell in comparison["cells"]:
        for category, estimate in [("", cell), *cell["categories"].items()]:
            head: dict[str, Any] = {"model": cell["model"], "context": cell["context"], "category": category}
            head |= _names(cell) | {"questions": estimate["graded"], "images": estimate["images"]}
            head |= {"failed": estimate["failed"], "ungraded": estimate["ungraded"]}
            accuracy, interval = estimate["accuracy"], estimate["accuracy_interval_95"]
            yield {**head, "measure": "accuracy", **_estimate(accuracy, interval)}
            if "mean_score" in estimate:
                interval = estimate["mean_score_interval_95"]
                yield {**head, "measure": "score", **_estimate(estimate["mean_score"], interval)}
    for difference in comparison["differences"]:
        for category, paired in [("", difference), *difference["categories"].items()]:
            head = {"model": difference["model"], "a": difference["a"], "b": difference["b"], "category": category}
            head |= _names(difference) | {"questions": paired["questions"], "images": paired["images"]}
            flips = {key: paired[key] for key in ("only_a_correct", "only_b_correct")}
            yield {**head, **flips, "measure": "accuracy", **_tested(paired)}
            if (scores := paired["scores"]) is not None:
                yield {**head, "measure": "score", **_tested(scores)}


def _names(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in NAMES if name in row}


def _answered_by(cell: Cell) -> str:
    """The model of a cell, with the one that made the captions."""
    return _with(cell["model"], cell.get("captioner"))


def _compared(difference: Difference) -> str:
    """The model of a difference, or those of A and B."""
    a = _with(difference["model"], difference.get("captioner"))
    b = _with(difference.get("model_b", difference["model"]), difference.get("captioner_b"))
    is_one_model = "model_b" not in difference and (difference.get("captioner") is None or a == b)
    return a if is_one_model else f"{a} - {b}"


def _with(model: str, captioner: str | None) -> str:
    return model if captioner is None else f"{model} with {captioner}"


def _estimate(value: float | None, interval: Sequence[float] | None) -> dict[str, Any]:
    return {"estimate": value, **dict(zip(("low_95", "high_95"), interval or (None, None), strict=True))}


def _tested(tested: Tested) -> dict[str, Any]:
    figures: Mapping[str, Any] = tested
    return _estimate(tested["difference"], tested["interval_95"]) | {key: figures[key] for key in TESTS}


def _markdown(comparison: Comparison) -> Iterator[str]:
    yield "# Contexts compared"
    yield ""
    yield "Intervals are of 95 %, and count the questions on one image as dependent on each other."
    yield from _cells(comparison)
    yield from _differences(comparison["differences"])
    for difference in comparison["differences"]:
        yield from _by_category(difference)


def _cells(comparison: Comparison) -> Iterator[str]:
    """What each context scores, over all questions and by category."""
    cells = comparison["cells"]
    has_scores = any("mean_score" in cell for cell in cells)
    heads = ["model", "context", "graded", "images", "accuracy", "interval"]
    heads += ["mean score", "interval"] * has_scores + ["failed", "without ground truth"]
    yield ""
    yield "## Each context"
    yield ""
    yield from _table_head(heads)
    for cell in cells:
        shown = [_answered_by(cell), cell["context"], f"{cell['graded']:,}", f"{cell['images']:,}"]
        shown += _share(cell["accuracy"], cell["accuracy_interval_95"])
        if "mean_score" in cell:
            shown += _share(cell["mean_score"], cell["mean_score_interval_95"])
        yield _row([*shown, f"{cell['failed']:,}", f"{cell['ungraded']:,}"])
    yield ""
    if (majority := comparison["majority_answer"]) is not None:
        share, interval = _share(majority["share"], majority["interval_95"])
        yield f"Always answering {_shown(majority['answer'])} would be right in {share} ({interval})."
    yield "Accuracies are over the graded questions. A failed question is no wrong answer: it is counted beside them."
    yield ""
    yield "### Accuracy by category"
    yield ""
    yield from _table_head(
        ["category", "majority answer", *(f"{_answered_by(cell)}, {cell['context']}" for cell in cells)]
    )
    for name in cells[0]["categories"]:
        majority = comparison["category_majority_answers"].get(name)
        shown = [name, _share(majority["share"], None)[0] if majority else "-"]
        yield _row(shown + [_category_cell(cell, name) for cell in cells])


def _category_cell(cell: Cell, name: str) -> str:
    estimate = cell["categories"][name]
    share, interval = _share(estimate["accuracy"], estimate["accuracy_interval_95"])
    return f"{share} of {estimate['graded']:,} ({interval})"


def _differences(differences: Sequence[Difference]) -> Iterator[str]:
    """The paired differences over all questions, and what they leave out."""
    yield ""
    yield "## Paired differences"
    yield ""
    if not differences:
        yield "No two of these have graded questions in common."
        return
    yield from _table_head(["model", "A - B", *PAIRED])
    for one in differences:
        yield _row([_compared(one), f"{one['a']} - {one['b']}", *_paired(one)])
    if any(one["scores"] for one in differences):
        yield ""
        yield "The same of mean scores:"
        yield ""
        yield from _table_head(["model", "A - B", "points", "interval", *TESTS.values()])
        for one in differences:
            if (scores := one["scores"]) is not None:
                yield _row([_compared(one), f"{one['a']} - {one['b']}", *_figures(scores), *_p_values(scores)])
    yield ""
    yield (
        "p is two-sided: of accuracies McNemar's exact test, of scores a sign-flip test, both as if all questions were "
        "independent. p by image turns the signs of all questions on one image together, so it holds where they are "
        "not. Holm's correction is for the number of rows."
    )
    yield ""
    yield from _table_head(
        ["left out of A - B", "failed in A", "failed in B", "only in A", "only in B", "ungraded", "changed"]
    )
    for one in differences:
        yield _row(
            [f"{_compared(one)}: {one['a']} - {one['b']}", *(f"{count:,}" for count in one["left_out"].values())]
        )
    yield ""
    yield "The questions behind a row, by qid: those that one of the two alone got right, and those left out."
    yield ""
    for one in differences:
        yield f"    {one['list_questions']}"


def _by_category(difference: Difference) -> Iterator[str]:
    yield ""
    yield f"## {_shown(_compared(difference))}: {difference['a']} - {difference['b']} by category"
    yield ""
    yield from _table_head(["category", *PAIRED])
    for name, paired in difference["categories"].items():
        yield _row([name, *_paired(paired)])
    yield ""
    yield "Here Holm's correction is for all categories of all differences."


def _paired(paired: PairedDifference) -> list[str]:
    counts = [f"{paired['questions']:,}", f"{paired['images']:,}"]
    flips = [f"{paired['only_a_correct']:,}", f"{paired['only_b_correct']:,}"]
    return [*counts, *_figures(paired), *flips, *_p_values(paired)]


def _figures(tested: Tested) -> list[str]:
    low, high = tested["interval_95"]
    return [f"{100 * tested['difference']:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"]


def _p_values(tested: Tested) -> list[str]:
    figures: Mapping[str, Any] = tested
    return [f"{figures[key]:.2g}" for key in TESTS]


def _share(value: float | None, interval: Sequence[float] | None) -> list[str]:
    """A share in per cent and its interval."""
    bounds = "-" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
    return ["-" if value is None else f"{100 * value:.1f} %", bounds]


def _table_head(names: Sequence[str]) -> Iterator[str]:
    yield _row(names)
    yield _row(["---"] * len(names))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_shown, cells))} |"


def _shown(text: str) -> str:
    return printable(text).replace("|", "\\|")
