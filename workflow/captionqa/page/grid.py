"""The page of several data sets: a table of models, contexts and data sets, and the ways to the page of each."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, cast

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.dataset.final_files import planned_files
from captionqa.files import atomic_writer
from captionqa.page.answer_columns import read_comparison
from captionqa.page.judged_grid import judge_grid
from captionqa.page.page_lists import PageContents
from captionqa.page.results_page import HTML, finish_folder, fresh_data
from captionqa.page.run_figures import run_figures
from captionqa.results.answer_sets import answer_sets
from captionqa.results.comparison import compare_contexts
from captionqa.results.comparison_records import (
    Cell,
    Comparison,
    MajorityAnswer,
    answered_by,
    cell_key,
    difference_keys,
)
from captionqa.results.provenance import read_provenance

#: What the page draws of an average of differences, and of a difference.
MACRO_KEYS = ("difference", "interval_95")
DIFFERENCE_KEYS = (*MACRO_KEYS, "p_by_image_holm", "questions")


class GridFigure(TypedDict):
    """An accuracy, or the mean of several; None where nothing is graded."""

    share: float | None
    interval: list[float] | None


class GridCell(GridFigure):
    """The accuracy of a model in a context on one data set."""

    graded: int
    correct: int
    failed: int


class GridRow(TypedDict):
    """A model in a context on all data sets."""

    model: str
    context: str
    #: None where it has none.
    macro: GridFigure | None
    #: {data set: why it is not averaged}; None where there is only one data set.
    not_averaged: dict[str, str] | None
    #: One for each data set; None where the model was not asked.
    cells: list[GridCell | None]


class Side(TypedDict):
    """A or B of a difference."""

    model: str
    context: str


class GridDifference(TypedDict):
    """A difference on all data sets; `macro`, `not_averaged` and `of` are as in `GridRow`."""

    a: Side
    b: Side
    macro: dict[str, Any] | None
    not_averaged: dict[str, str] | None
    of: list[dict[str, Any] | None]


class GridDataSet(TypedDict):
    """A data set, with counts over all models and contexts."""

    name: str
    #: The address of its page, relative to this one.
    page: str | None
    questions: int
    #: Images that are captioned.
    images: int
    #: Requests without an answer, of all final files.
    failed: int
    majority: MajorityAnswer | None


#: What stands in the place of a file of the time when the data set had no name.
_ELSEWHERE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'">
<meta name="color-scheme" content="light dark">
<title>captionqa results</title>
</head>
<body>
<p>The data sets of this run have names, and each has a page of its own.</p>
<ul>
{links}
</ul>
</body>
</html>
"""


def write_grid_page(config: Config, layout: Layout) -> None:
    """Write the page of all data sets of a complete run, beside which are the pages of each.

    Raises:
        ResultError: as for `grid_overview`.
        OSError: the folder cannot be written.
    """
    _write(config, layout, grid_overview(config, layout))


def write_unfinished_grid_page(config: Config, layout: Layout) -> None:
    """Write the page of a run that did not get to its end: the ways to the pages that there are, and no table.

    Raises:
        OSError: the folder cannot be written.
    """
    overview = {
        "model": {},
        "parts": [],
        "is_unfinished": True,
        "data_sets": [
            {
                "name": each.data_set,
                "page": _address(each) if Path(of_data.page).exists() else None,
                "questions": 0,
                "images": 0,
                "failed": 0,
                "majority": None,
            }
            for each, of_data in config.by_data_set(layout)
        ],
        "rows": [],
        "differences": [],
        "judge": None,
    }
    _write(config, layout, overview)
    # older than all results, so that the next run makes the page anew
    os.utime(layout.page, (0, 0))


def _write(config: Config, layout: Layout, overview: Mapping[str, Any]) -> None:
    """Write the page, and have the other pages in its folder, which are of a data set without a name, lead to it."""
    folder = Path(layout.page).parent
    fresh_data(folder)
    finish_folder(folder, overview, run_figures(config, layout))
    links = [f'<li><a href="{HTML}">all data sets</a></li>']
    links += [f'<li><a href="{_address(each)}">{each.data_set}</a></li>' for each, _ in config.by_data_set(layout)]
    for earlier in (layout.page_in_one_file, layout.page_tables):
        if Path(earlier).exists():
            with atomic_writer(earlier) as file:
                file.write(_ELSEWHERE.format(links="\n".join(links)))


def grid_overview(config: Config, layout: Layout, to_root: str = "..") -> dict[str, Any]:
    """What the page shows; `to_root` is the address of the output folder from it.

    Raises:
        ResultError: a provenance file is missing, or the comparison is of earlier results.
    """
    comparison, contents, names = _comparison(config, layout), PageContents(), list(config.data_sets)
    data_sets = [
        _data_set(contents, each, of_data, comparison, to_root) for each, of_data in config.by_data_set(layout)
    ]
    return {
        "model": contents.model,
        "parts": contents.parts,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "data_sets": data_sets,
        "rows": [] if comparison is None else _rows(comparison, names),
        "differences": [] if comparison is None else _differences(comparison, names),
        "judge": judge_grid(config, layout),
    }


def _comparison(config: Config, layout: Layout) -> Comparison | None:
    """The comparison of the run; of a single answer set, of which none is written, its figures alone."""
    sets = answer_sets(config, layout)
    if len(sets) < 2:
        return compare_contexts(sets) if sets else None
    return read_comparison(layout, sets)


def _data_set(
    contents: PageContents, config: Config, layout: Layout, comparison: Comparison | None, to_root: str
) -> GridDataSet:
    """Describe a data set, and add its final files to the contents."""
    images = failed = 0
    for of_model in layout.of_models(config.model_names):
        for file in planned_files(config, of_model):
            contents.add_part(config.title(file.name, of_model.model), file.provenance)
            stored = read_provenance(file.provenance)
            counts = {"items": 0, "failed": 0} if stored is None else stored["counts"]
            failed += counts["failed"]
            if file.task == "captions":
                images = max(images, counts["items"])
    cells = [] if comparison is None else [cell for cell in comparison["cells"] if cell["data_set"] == config.data_set]
    questions = max((cell["questions"] for cell in cells), default=0)
    of_data_sets = {} if comparison is None else comparison.get("data_sets", {})
    majorities = of_data_sets.get(config.data_set)
    return {
        "name": config.data_set,
        "page": _address(config, to_root),
        "questions": questions,
        "images": images,
        "failed": failed,
        "majority": None if majorities is None else majorities["majority_answer"],
    }


def _address(config: Config, to_root: str = "..") -> str:
    """The address of the page of a data set."""
    return f"{to_root}/{config.data_set}/report/{HTML}"


def _rows(comparison: Comparison, names: list[str]) -> list[GridRow]:
    cells = {cell_key(cell): cell for cell in comparison["cells"]}
    averages = {cell_key(average)[:3]: average for average in comparison.get("macro_averages", ())}
    rows: list[GridRow] = []
    for of in dict.fromkeys(key[:3] for key in cells):
        average = averages.get(of)
        is_known = average is not None and average["accuracy"] is not None
        rows.append(
            {
                "model": answered_by(of[0], of[1]),
                "context": of[2],
                "macro": {"share": average["accuracy"], "interval": average["accuracy_interval_95"]}
                if average is not None and is_known
                else None,
                "not_averaged": None if average is None else cast(dict[str, str], average["not_averaged"]),
                "cells": [_cell(cells.get((*of, name))) for name in names],
            }
        )
    return rows


def _cell(cell: Cell | None) -> GridCell | None:
    if cell is None:
        return None
    return {
        "share": cell["accuracy"],
        "interval": cell["accuracy_interval_95"],
        "graded": cell["graded"],
        "correct": cell["correct"],
        "failed": cell["failed"],
    }


def _differences(comparison: Comparison, names: list[str]) -> list[GridDifference]:
    found = {difference_keys(one): one for one in comparison["differences"]}
    averages = {difference_keys(average): average for average in comparison.get("macro_differences", ())}
    differences: list[GridDifference] = []
    for a, b in dict.fromkeys((a[:3], b[:3]) for a, b in found):
        average = averages.get(((*a, ""), (*b, "")))
        of = [found.get(((*a, name), (*b, name))) for name in names]
        is_known = average is not None and average["difference"] is not None
        differences.append(
            {
                "a": {"model": answered_by(a[0], a[1]), "context": a[2]},
                "b": {"model": answered_by(b[0], b[1]), "context": b[2]},
                "macro": _chosen(average, MACRO_KEYS) if average is not None and is_known else None,
                "not_averaged": None if average is None else cast(dict[str, str], average["not_averaged"]),
                "of": [None if one is None else _chosen(one, DIFFERENCE_KEYS) for one in of],
            }
        )
    return differences


def _chosen(record: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: record[key] for key in keys}
