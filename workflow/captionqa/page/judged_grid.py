"""A judge on the page of several data sets: its figures of each answer set, and their means over the data sets."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.page.answer_columns import answer_columns
from captionqa.page.judgements import judge_figures
from captionqa.results.answer_sets import AnswerSet
from captionqa.results.comparison_records import answered_by
from captionqa.results.judged_records import AccuracyFigures, JudgeMetrics
from captionqa.results.statistics import interval_of_mean

#: (model, captioner, context), as in `AnswerSet.key`.
Key = tuple[str, str | None, str]


class Mean(TypedDict):
    """The mean of accuracies on several data sets, each with the weight 1."""

    accuracy: float
    #: As [low, high], by MOVER from those of the data sets.
    accuracy_interval_95: list[float]


class JudgeMeans(TypedDict):
    """The means of the accuracies of a judge's metrics; None where one is missing on a data set."""

    rules: Mean | None
    by_judge: Mean | None
    combined: Mean | None


class JudgedRow(TypedDict):
    """The answers of one model in one context, to one data set or to all."""

    model: str
    context: str
    #: None where they are not judged.
    figures: JudgeMetrics | JudgeMeans | None


class JudgedDataSet(TypedDict):
    """A data set that has a judge."""

    name: str
    rows: list[JudgedRow]


class JudgeGrid(TypedDict):
    """What the page shows of a judge."""

    judge: str
    data_sets: list[JudgedDataSet]
    #: The names of the data sets that the averages are over: those with ground truths.
    averaged: list[str]
    #: None of a single data set, of a context in which not all are asked, nor of answers of which the judge got none
    #: anywhere.
    averages: list[JudgedRow]


def judge_grid(config: Config, layout: Layout) -> JudgeGrid | None:
    """The figures of all data sets that have a judge; None where none has."""
    judge = config.any_judge
    if judge is None:
        return None
    found = {
        each.data_set: {column.answers.key[:3]: _figures(each, column.answers) for column in answer_columns(each, part)}
        for each, part in config.by_data_set(layout)
        if each.judge is not None
    }
    averaged = [
        name for name, sets in found.items() if any(one is None or one["rules"]["total"] for one in sets.values())
    ]
    asked = {key for sets in found.values() for key, one in sets.items() if one is None or one["by_judge"]["items"]}
    # in the contexts of all of them: the others have no average
    everywhere = [key for key in found[averaged[0]] if all(key in found[name] for name in averaged)] if averaged else []
    keys = [key for key in everywhere if key in asked] if len(averaged) > 1 else []
    return {
        "judge": judge.model,
        "data_sets": [
            {"name": name, "rows": [_row(key, figures) for key, figures in sets.items()]}
            for name, sets in found.items()
        ],
        "averaged": averaged,
        "averages": [_row(key, _means([found[name].get(key) for name in averaged])) for key in keys],
    }


def _figures(config: Config, answers: AnswerSet) -> JudgeMetrics | None:
    return judge_figures(answers, config) if Path(answers.results).exists() else None


def _row(key: Key, figures: JudgeMetrics | JudgeMeans | None) -> JudgedRow:
    model, captioner, context = key
    return {"model": answered_by(model, captioner), "context": context, "figures": figures}


def _means(judged: Sequence[JudgeMetrics | None]) -> JudgeMeans:
    figures = [one for one in judged if one is not None]
    if len(figures) < len(judged):
        return {"rules": None, "by_judge": None, "combined": None}
    return {
        "rules": _mean([one["rules"] for one in figures]),
        "by_judge": _mean([one["by_judge"] for one in figures]),
        "combined": _mean([one["combined"] for one in figures]),
    }


def _mean(figures: Sequence[AccuracyFigures]) -> Mean | None:
    accuracies = [one["accuracy"] for one in figures if one["accuracy"] is not None]
    intervals = [one["accuracy_interval_95"] for one in figures if one["accuracy_interval_95"] is not None]
    if len(accuracies) < len(figures):
        return None
    return {
        "accuracy": sum(accuracies) / len(accuracies),
        "accuracy_interval_95": interval_of_mean(accuracies, intervals),
    }
