"""Whether the results that a page shows are complete, whatever else of a run failed; those of a judge do not count."""

import os
from collections.abc import Iterable

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.dataset.final_files import FinalFile, planned_files
from captionqa.dataset.plan import planned_tasks
from captionqa.results.answer_sets import answer_sets


def is_of_all_results(page: str, config: Config, layout: Layout) -> bool:
    """Whether a page was made of the results of all chunks of a data set, and of its final files as they are now."""
    if not _is_planned(config, layout):
        return False
    files = _planned_files(config, layout)
    return all(_is_made_of(page, [*file.results(config, each), *_paths(file)]) for each, file in files)


def has_final_files(config: Config, layout: Layout) -> bool:
    """Whether all final files of a data set are made of the results of all chunks, and so is their comparison."""
    made = [
        (path, file.results(config, each)) for each, file in _planned_files(config, layout) for path in _paths(file)
    ]
    made += [(each.companion("metrics"), [each.results]) for each in answer_sets(config, layout)]
    return (
        _is_planned(config, layout)
        and all(_is_made_of(path, of) for path, of in made)
        and has_comparison(config, layout)
    )


def has_comparison(config: Config, layout: Layout) -> bool:
    """Whether the comparison of a run, or of one of its data sets, is made of its results, if it is to have one."""
    sets = answer_sets(config, layout)
    return len(sets) < 2 or _is_made_of(layout.comparison("json"), [each.results for each in sets])


def _is_planned(config: Config, layout: Layout) -> bool:
    return set(planned_tasks(config, layout)) == set(config.tasks)


def _planned_files(config: Config, layout: Layout) -> list[tuple[Layout, FinalFile]]:
    """The final files of a data set, each with the layout of its model."""
    return [(each, file) for each in layout.of_models(config.model_names) for file in planned_files(config, each)]


def _paths(file: FinalFile) -> tuple[str, ...]:
    return file.path, file.failures, file.provenance


def _is_made_of(path: str, inputs: Iterable[str]) -> bool:
    """Whether all inputs of a file are there and none is newer."""
    if not os.path.exists(path):
        return False
    made = os.stat(path).st_mtime
    return all(os.path.exists(each) and os.stat(each).st_mtime <= made for each in inputs)
