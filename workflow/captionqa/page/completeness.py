"""Whether the results that a page shows are complete, whatever else of a run failed; those of a judge do not count."""

import os
from collections.abc import Iterable

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.dataset.final_files import planned_files
from captionqa.dataset.plan import planned_tasks
from captionqa.results.answer_sets import answer_sets


def is_of_all_chunks(page: str, config: Config, layout: Layout) -> bool:
    """Whether a page was made of the results of all chunks of a data set."""
    if set(planned_tasks(config, layout)) != set(config.tasks):
        return False
    files = [(each, file) for each in layout.of_models(config.model_names) for file in planned_files(config, each)]
    return all(_is_made_of(page, file.results(config, each)) for each, file in files)


def has_final_files(config: Config, layout: Layout) -> bool:
    """Whether all final files of a data set are made of the results of all chunks, and so is their comparison."""
    files = [(each, file) for each in layout.of_models(config.model_names) for file in planned_files(config, each)]
    made = [
        (path, file.results(config, each))
        for each, file in files
        for path in (file.path, file.failures, file.provenance)
    ]
    sets = answer_sets(config, layout)
    made += [(each.companion("metrics"), [each.results]) for each in sets]
    if len(sets) > 1:
        made.append((layout.comparison("json"), [each.results for each in sets]))
    is_planned = set(planned_tasks(config, layout)) == set(config.tasks)
    return is_planned and all(_is_made_of(path, of) for path, of in made)


def _is_made_of(path: str, inputs: Iterable[str]) -> bool:
    """Whether all inputs of a file are there and none is newer."""
    if not os.path.exists(path):
        return False
    made = os.stat(path).st_mtime
    return all(os.path.exists(each) and os.stat(each).st_mtime <= made for each in inputs)
