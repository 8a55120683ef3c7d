"""The files of the comparison: JSON with everything, CSV with a row for each figure, Markdown to read."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from captionqa.files import atomic_writer, write_json
from captionqa.results.answer_sets import AnswerSet
from captionqa.results.comparison import compare_contexts
from captionqa.results.comparison_markdown import TESTS, markdown
from captionqa.results.comparison_records import Averaged, Comparison, Tested

#: The columns of the CSV.
COLUMNS = (
    *("model", "context", "a", "b", "category", "measure", "questions", "images", "estimate", "low_95", "high_95"),
    *(*TESTS, "failed", "ungraded", "only_a_correct", "only_b_correct"),
    # the model that made the captions where another answers from them; of B: the model, where it is not that of A
    *("captioner", "model_b", "captioner_b"),
)
#: Those of data sets with names. In the rows of macro averages `data_set` has the names of all that are averaged.
DATA_SET_COLUMNS = ("data_set", "not_averaged")
NAMES = ("captioner", "model_b", "captioner_b", "data_set")
#: What is between the names of several data sets; no name has it.
BETWEEN = " + "


def write_comparison(answer_sets: Sequence[AnswerSet], json_path: str, csv_path: str, markdown_path: str) -> None:
    """Compare the contexts and the models, and write the three files.

    Raises:
        ResultError: as for `compare_contexts`.
    """
    comparison = compare_contexts(answer_sets)
    write_json(json_path, comparison)
    with atomic_writer(csv_path) as file:
        columns = (*COLUMNS, *DATA_SET_COLUMNS) if "data_sets" in comparison else COLUMNS
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rows(comparison))
    with atomic_writer(markdown_path) as file:
        file.write("\n".join(markdown(comparison)) + "\n")


def _rows(comparison: Comparison) -> Iterator[Mapping[str, Any]]:
    """The rows of the CSV: of each cell and each difference, first over all questions, then by category.

    Those of macro averages follow.
    """
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
    yield from _average_rows(comparison)


def _average_rows(comparison: Comparison) -> Iterator[Mapping[str, Any]]:
    for average in comparison.get("macro_averages", ()):
        head = {"model": average["model"], "context": average["context"], **_names(average), **_averaged(average)}
        accuracy, interval = average["accuracy"], average["accuracy_interval_95"]
        yield {**head, "measure": "macro accuracy", **_estimate(accuracy, interval)}
        if "mean_score" in average:
            interval = average["mean_score_interval_95"]
            yield {**head, "measure": "macro score", **_estimate(average["mean_score"], interval)}
    for one in comparison.get("macro_differences", ()):
        head = {"model": one["model"], "a": one["a"], "b": one["b"], **_names(one), **_averaged(one)}
        yield {**head, "measure": "macro accuracy", **_estimate(one["difference"], one["interval_95"])}


def _averaged(of: Averaged) -> dict[str, str]:
    return {"data_set": BETWEEN.join(of["data_sets"]), "not_averaged": BETWEEN.join(of["not_averaged"])}


def _names(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in NAMES if name in row}


def _estimate(value: float | None, interval: Sequence[float] | None) -> dict[str, Any]:
    return {"estimate": value, **dict(zip(("low_95", "high_95"), interval or (None, None), strict=True))}


def _tested(tested: Tested) -> dict[str, Any]:
    figures: Mapping[str, Any] = tested
    return _estimate(tested["difference"], tested["interval_95"]) | {key: figures[key] for key in TESTS}
