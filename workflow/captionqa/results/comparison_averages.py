"""Macro averages: the mean of the figures of several data sets, in which each data set has the weight 1.

An average is over all data sets that have a ground truth, or it is None: one over fewer could not be compared with the
others.
"""

from collections.abc import Container, Mapping, Sequence

from captionqa.results.comparison_records import (
    Averaged,
    Cell,
    Difference,
    LeftOutReason,
    MacroAverage,
    MacroDifference,
    cell_key,
    difference_keys,
)
from captionqa.results.statistics import interval_of_mean


def macro_averages(cells: Sequence[Cell], names: Sequence[str]) -> list[MacroAverage]:
    """The mean accuracy of each model in each context over the data sets of these names."""
    found = {cell_key(cell): cell for cell in cells}
    has_scores = any("mean_score" in cell for cell in cells)
    hidden = _without_truths(cells)
    made = []
    for of in dict.fromkeys(key[:3] for key in found):
        asked = {name: cell for name in names if (cell := found.get((*of, name)))}
        averaged = _averaged(names, hidden, asked, {name: cell["graded"] for name, cell in asked.items()})
        made.append(_average(asked, averaged, has_scores))
    return made


def macro_differences(
    cells: Sequence[Cell], differences: Sequence[Difference], names: Sequence[str]
) -> list[MacroDifference]:
    """The mean of the paired differences of each two models or contexts over the data sets of these names."""
    asked_cells = {cell_key(cell) for cell in cells}
    hidden = _without_truths(cells)
    found = {difference_keys(one): one for one in differences}
    made = []
    for a, b in dict.fromkeys((a[:3], b[:3]) for a, b in found):
        asked = [name for name in names if {(*a, name), (*b, name)} <= asked_cells]
        paired = {name: one for name in asked if (one := found.get(((*a, name), (*b, name))))}
        averaged = _averaged(names, hidden, asked, {name: one["questions"] for name, one in paired.items()})
        made.append(_difference(paired, averaged))
    return made


def _average(asked: Mapping[str, Cell], averaged: Averaged, has_scores: bool) -> MacroAverage:
    cell, cells = next(iter(asked.values())), [asked[name] for name in averaged["data_sets"]]
    mean, interval = _mean(averaged, [(each["accuracy"], each["accuracy_interval_95"]) for each in cells])
    average: MacroAverage = {
        "model": cell["model"],
        "context": cell["context"],
        "data_sets": averaged["data_sets"],
        "not_averaged": averaged["not_averaged"],
        "accuracy": mean,
        "accuracy_interval_95": interval,
    }
    if "captioner" in cell:
        average["captioner"] = cell["captioner"]
    if has_scores:
        # where all scores of a data set are 0 or 1 its cells have none of their own: they are the accuracies
        scores = [
            (each.get("mean_score", each["accuracy"]), each.get("mean_score_interval_95", each["accuracy_interval_95"]))
            for each in cells
        ]
        average["mean_score"], average["mean_score_interval_95"] = _mean(averaged, scores)
    return average


def _difference(paired: Mapping[str, Difference], averaged: Averaged) -> MacroDifference:
    one = next(iter(paired.values()))
    figures = [(paired[name]["difference"], paired[name]["interval_95"]) for name in averaged["data_sets"]]
    mean, interval = _mean(averaged, figures, low=-1.0)
    difference: MacroDifference = {
        "model": one["model"],
        "a": one["a"],
        "b": one["b"],
        "data_sets": averaged["data_sets"],
        "not_averaged": averaged["not_averaged"],
        "difference": mean,
        "interval_95": interval,
    }
    for name in ("captioner", "model_b", "captioner_b"):
        if name in one:
            difference[name] = one[name]
    return difference


def _without_truths(cells: Sequence[Cell]) -> set[str]:
    """The data sets whose answers have no ground truth to be graded against."""
    graded = {cell["data_set"] for cell in cells if cell["graded"]}
    return {cell["data_set"] for cell in cells if cell["ungraded"]} - graded


def _averaged(
    names: Sequence[str], hidden: Container[str], asked: Container[str], graded: Mapping[str, int]
) -> Averaged:
    """Which data sets are averaged, by those without ground truths, those asked, and {name: questions with a grade}."""
    left_out: dict[str, LeftOutReason] = {}
    for name in names:
        if name in hidden:
            left_out[name] = "no_ground_truth"
        elif name not in asked:
            left_out[name] = "not_asked"
        elif not graded.get(name):
            left_out[name] = "nothing_graded"
    return {"data_sets": [name for name in names if name not in left_out], "not_averaged": left_out}


def _mean(
    averaged: Averaged, figures: Sequence[tuple[float | None, Sequence[float] | None]], low: float = 0.0
) -> tuple[float | None, list[float] | None]:
    """The mean of the figures of the averaged data sets, with its interval.

    None where one with ground truths is missing, or none has any.
    """
    if not figures or any(reason != "no_ground_truth" for reason in averaged["not_averaged"].values()):
        return None, None
    means = [mean for mean, _ in figures if mean is not None]
    intervals = [interval for _, interval in figures if interval is not None]
    return sum(means) / len(means), interval_of_mean(means, intervals, low)
