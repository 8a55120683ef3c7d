"""The comparison as Markdown to read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from captionqa.results.comparison_records import (
    Averaged,
    Cell,
    Comparison,
    Difference,
    LeftOutReason,
    MacroAverage,
    MacroDifference,
    MajorityAnswer,
    PairedDifference,
    Tested,
    answered_by,
    cell_key,
)
from captionqa.shown_text import printable

#: The tests of a difference: their keys, and how the tables call them.
TESTS = {"p": "p", "p_holm": "p (Holm)", "p_by_image": "p by image", "p_by_image_holm": "p by image (Holm)"}
#: The heads of a table of differences, below those that name the rows.
PAIRED = ("questions", "images", "points", "interval", "only A right", "only B right", *TESTS.values())
#: The most rows without an average that a sentence names, and the most commands that are written out.
NAMED = 6
#: Why a macro average has no figure for, or does without, a data set: what follows its name.
LEFT_OUT: dict[LeftOutReason, str] = {
    "no_ground_truth": "has no ground truth, so it is in no average.",
    "not_asked": "was not asked there, so there is no average: {rows}.",
    "nothing_graded": "has no graded answer there, so there is no average: {rows}.",
}


def markdown(comparison: Comparison) -> Iterator[str]:
    """The lines of a comparison."""
    yield "# Contexts compared"
    yield ""
    yield "Intervals are of 95 %, and count the questions on one image as dependent on each other."
    if "macro_averages" in comparison:
        yield from _macro_averages(comparison)
    data_sets = comparison.get("data_sets")
    if data_sets is None:
        yield from _cells(comparison["cells"], comparison["majority_answer"], comparison["category_majority_answers"])
    for name, majorities in (data_sets or {}).items():
        cells = [cell for cell in comparison["cells"] if cell["data_set"] == name]
        yield from _cells(cells, majorities["majority_answer"], majorities["category_majority_answers"], name)
    yield from _differences(comparison["differences"])
    if "macro_differences" in comparison:
        yield from _macro_differences(comparison["macro_differences"])
    for name in dict.fromkeys(one.get("data_set", "") for one in comparison["differences"]):
        yield from _by_category([one for one in comparison["differences"] if one.get("data_set", "") == name], name)


def _macro_averages(comparison: Comparison) -> Iterator[str]:
    """The table of models, contexts and data sets."""
    averages, names = comparison["macro_averages"], list(comparison["data_sets"])
    cells = {cell_key(cell): cell for cell in comparison["cells"]}
    has_scores = any("mean_score" in average for average in averages)
    yield ""
    yield "## Macro averages"
    yield ""
    yield from _table_head(
        ["model", "context", "macro average", "interval", *["mean score", "interval"] * has_scores, *names]
    )
    for average in averages:
        shown = [_answered_by(average), average["context"]]
        shown += _share(average["accuracy"], average["accuracy_interval_95"])
        if "mean_score" in average:
            shown += _share(average["mean_score"], average["mean_score_interval_95"])
        of = (average["model"], average.get("captioner"), average["context"])
        found = [cells.get((*of, name)) for name in names]
        yield _row([*shown, *("-" if cell is None else _share(cell["accuracy"], None)[0] for cell in found)])
    yield ""
    averaged = next((average["data_sets"] for average in averages if average["accuracy"] is not None), None)
    if averaged is not None:
        yield (
            f"A macro average is the mean of the accuracies on {_listed(averaged)}, each with the weight 1, whatever "
            "its number of questions. Its interval is by MOVER from theirs."
        )
    yield from _not_averaged((f"{_answered_by(one)}, {one['context']}", one) for one in averages)


def _macro_differences(differences: Sequence[MacroDifference]) -> Iterator[str]:
    yield ""
    yield "## Macro averages of the paired differences"
    yield ""
    if not differences:
        yield "No two of these have graded questions in common."
        return
    rows = [
        _row([_compared(one), f"{one['a']} - {one['b']}", *_points(one["difference"], one["interval_95"])])
        for one in differences
        if one["difference"] is not None and one["interval_95"] is not None
    ]
    if rows:
        yield from [*_table_head(["model", "A - B", "points", "interval"]), *rows]
        yield ""
    yield "Each is the mean of the differences on the data sets, each with the weight 1; its interval is by MOVER."
    yield from _not_averaged((f"{_compared(one)}: {one['a']} - {one['b']}", one) for one in differences)


def _not_averaged(rows: Iterable[tuple[str, Averaged]]) -> Iterator[str]:
    """A sentence on each data set that rows, which have names, do not average."""
    of_reason: dict[tuple[str, str], list[str]] = {}
    for row, averaged in rows:
        for name, reason in averaged["not_averaged"].items():
            of_reason.setdefault((name, LEFT_OUT[reason]), []).append(row)
    for (name, why), names in of_reason.items():
        yield ""
        shown = "; ".join(names[:NAMED]) + (f"; and {len(names) - NAMED} more" if len(names) > NAMED else "")
        yield _shown(f"{name} {why.format(rows=shown)}")


def _cells(
    cells: Sequence[Cell],
    majority: MajorityAnswer | None,
    category_majorities: Mapping[str, MajorityAnswer],
    data_set: str = "",
) -> Iterator[str]:
    """What each context scores on one data set, over all questions and by category."""
    has_scores = any("mean_score" in cell for cell in cells)
    heads = ["model", "context", "graded", "images", "accuracy", "interval"]
    heads += ["mean score", "interval"] * has_scores + ["failed", "without ground truth"]
    on = f", {_shown(data_set)}" if data_set else ""
    yield ""
    yield f"## Each context{on}"
    yield ""
    yield from _table_head(heads)
    for cell in cells:
        shown = [_answered_by(cell), cell["context"], f"{cell['graded']:,}", f"{cell['images']:,}"]
        shown += _share(cell["accuracy"], cell["accuracy_interval_95"])
        if "mean_score" in cell:
            shown += _share(cell["mean_score"], cell["mean_score_interval_95"])
        yield _row([*shown, f"{cell['failed']:,}", f"{cell['ungraded']:,}"])
    yield ""
    if majority is not None:
        share, interval = _share(majority["share"], majority["interval_95"])
        yield f"Always answering {_shown(majority['answer'])} would be right in {share} ({interval})."
    yield "Accuracies are over the graded questions. A failed question is no wrong answer: it is counted beside them."
    yield ""
    yield f"### Accuracy by category{on}"
    yield ""
    yield from _table_head(
        ["category", "majority answer", *(f"{_answered_by(cell)}, {cell['context']}" for cell in cells)]
    )
    for name in cells[0]["categories"]:
        of_category = category_majorities.get(name)
        shown = [name, _share(of_category["share"], None)[0] if of_category else "-"]
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
    named = ["data set"] if any("data_set" in one for one in differences) else []
    yield from _table_head([*named, "model", "A - B", *PAIRED])
    for one in differences:
        yield _row([*_row_names(one), *_paired(one)])
    if any(one["scores"] for one in differences):
        yield ""
        yield "The same of mean scores:"
        yield ""
        yield from _table_head([*named, "model", "A - B", "points", "interval", *TESTS.values()])
        for one in differences:
            if (scores := one["scores"]) is not None:
                yield _row([*_row_names(one), *_figures(scores), *_p_values(scores)])
    yield ""
    yield (
        "p is two-sided: of accuracies McNemar's exact test, of scores a sign-flip test, both as if all questions were "
        "independent. p by image turns the signs of all questions on one image together, so it holds where they are "
        "not. Holm's correction is for the number of rows."
    )
    yield ""
    if incomplete := [one for one in differences if any(one["left_out"].values())]:
        yield from _table_head(
            ["left out of A - B", "failed in A", "failed in B", "only in A", "only in B", "ungraded", "changed"]
        )
        for one in incomplete:
            yield _row([_difference_name(one), *(f"{count:,}" for count in one["left_out"].values())])
        if len(incomplete) < len(differences):
            yield ""
            yield "The other differences leave out no question."
    else:
        yield "No difference leaves out a question."
    yield ""
    yield "The questions behind a row, by qid: those that one of the two alone got right, and those left out."
    if len(differences) > NAMED:
        yield f"The first {NAMED} commands are here, and all in comparison.json (`list_questions`)."
    yield ""
    for one in differences[:NAMED]:
        yield f"    {one['list_questions']}"


def _by_category(differences: Sequence[Difference], data_set: str) -> Iterator[str]:
    """All differences on a data set in one table, unless it has a single category, which would say it all again."""
    if all(len(one["categories"]) < 2 for one in differences):
        return
    yield ""
    yield f"## Paired differences by category{f', {_shown(data_set)}' if data_set else ''}"
    yield ""
    yield from _table_head(["model", "A - B", "category", *PAIRED])
    for one in differences:
        for name, paired in one["categories"].items():
            yield _row([_compared(one), f"{one['a']} - {one['b']}", name, *_paired(paired)])
    yield ""
    yield "Here Holm's correction is for all categories of all differences."


def _paired(paired: PairedDifference) -> list[str]:
    counts = [f"{paired['questions']:,}", f"{paired['images']:,}"]
    flips = [f"{paired['only_a_correct']:,}", f"{paired['only_b_correct']:,}"]
    return [*counts, *_figures(paired), *flips, *_p_values(paired)]


def _figures(tested: Tested) -> list[str]:
    return _points(tested["difference"], tested["interval_95"])


def _points(difference: float, interval: Sequence[float]) -> list[str]:
    """A difference in points and its interval."""
    low, high = interval
    return [f"{100 * difference:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}"]


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


def _answered_by(cell: Cell | MacroAverage) -> str:
    """The model of a cell, with the one that made the captions."""
    return answered_by(cell["model"], cell.get("captioner"))


def _compared(difference: Difference | MacroDifference) -> str:
    """The model of a difference, or those of A and B."""
    a = answered_by(difference["model"], difference.get("captioner"))
    b = answered_by(difference.get("model_b", difference["model"]), difference.get("captioner_b"))
    is_one_model = "model_b" not in difference and (difference.get("captioner") is None or a == b)
    return a if is_one_model else f"{a} - {b}"


def _difference_name(difference: Difference) -> str:
    """A difference in one text."""
    *data_set, model, a_b = _row_names(difference)
    return ", ".join([*data_set, f"{model}: {a_b}"])


def _row_names(difference: Difference) -> list[str]:
    """The first cells of the row of a difference: its data set where that has a name, its models, A and B."""
    named = [difference["data_set"]] if "data_set" in difference else []
    return [*named, _compared(difference), f"{difference['a']} - {difference['b']}"]


def _listed(names: Sequence[str]) -> str:
    """A, B and C."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
