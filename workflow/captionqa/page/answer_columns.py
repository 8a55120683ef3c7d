"""The columns of the page: the answer sets of a run, each with its label and its figures in the comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from captionqa.config.config import Config
from captionqa.config.contexts import IMAGES, Context
from captionqa.config.layout import Layout
from captionqa.errors import ResultError
from captionqa.files import read_json
from captionqa.results.answer_sets import AnswerSet, answer_sets
from captionqa.results.comparison_records import Cell, Comparison, cell_key, difference_keys


@dataclass(frozen=True)
class AnswerColumn:
    """One column: an answer set, and what the page calls it."""

    answers: AnswerSet
    label: str
    #: The context of the configuration that it is of.
    context: Context

    def names(self) -> dict[str, str]:
        """What it is of."""
        of_model = {"model": self.answers.model, "context": self.answers.context}
        return {"label": self.label, **of_model, "context_label": context_label(self.context)}


def answer_columns(config: Config, layout: Layout) -> list[AnswerColumn]:
    """The columns in the order of the configuration, but the questions with their images come first."""
    sets = answer_sets(config, layout)
    models = {one.model for one in sets}
    columns = []
    for one, (_, context) in zip(sets, config.answers, strict=True):
        label = context_label(context)
        columns.append(AnswerColumn(one, label if len(models) < 2 else f"{one.model}, {label}", context))
    return sorted(columns, key=lambda column: column.context != IMAGES)


def context_label(context: Context) -> str:
    """As a person reads it: image, caption SHORT, caption SHORT of MODEL."""
    of = "" if context.captioner is None else f" of {context.captioner}"
    return context.kind if context.captions is None else f"{context.kind} {context.captions}{of}"


def read_comparison(layout: Layout, sets: Sequence[AnswerSet]) -> Comparison | None:
    """The comparison of a run, of which these are answer sets; None where there is none.

    Raises:
        ResultError: it is of earlier results of theirs, by the counts in their metrics.
    """
    path = layout.comparison("json")
    comparison: Comparison | None = read_json(path)
    if comparison is None:
        return None
    counts = {cell_key(cell): (cell["questions"], cell["correct"]) for cell in comparison["cells"]}
    for one in sets:
        metrics = read_json(one.companion("metrics"))
        if metrics is not None and counts.get(one.key) != (metrics["total_questions"], metrics["correct_answers"]):
            raise ResultError(f"{path} is of earlier results; run the same command again to write it.")
    return comparison


def cell_of(comparison: Comparison | None, column: AnswerColumn) -> Cell | None:
    """The figures that a comparison has of a column; None where there are none."""
    cells = comparison["cells"] if comparison else ()
    return next((cell for cell in cells if cell_key(cell) == column.answers.key), None)


def differences_of(comparison: Comparison | None, columns: Sequence[AnswerColumn]) -> list[dict[str, Any]]:
    """The paired differences of columns, as the page draws them; `a` and `b` are numbers of columns."""
    numbers = {column.answers.key: number for number, column in enumerate(columns)}
    return [
        {
            "a": numbers[a],
            "b": numbers[b],
            **{
                key: one[key]
                for key in ("difference", "interval_95", "p_holm", "p_by_image_holm", "questions", "images")
            },
            "only_a": one["only_a_correct"],
            "only_b": one["only_b_correct"],
        }
        for one in (comparison["differences"] if comparison else ())
        for a, b in [difference_keys(one)]
        if {a, b} <= numbers.keys()
    ]
