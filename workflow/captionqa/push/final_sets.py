"""The final files of a finished run, each with its companions and with what these say about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.dataset.final_files import FinalFile, final_files, items_to_do
from captionqa.errors import ResultError
from captionqa.files import read_json
from captionqa.results.answer_sets import RESULTS_ENDING
from captionqa.results.result_set import check_no_run

#: {task: its final file and the companions that each merge writes}, then those that a merge may leave out.
KINDS: dict[Task, tuple[str, ...]] = {
    "captions": ("captions", "failures", "provenance"),
    "qa": ("results", "metrics", "failures", "provenance"),
}
OPTIONAL_KINDS: dict[Task, tuple[str, ...]] = {"captions": ("statistics",), "qa": ("flips",)}
#: What the kinds of a judge's files begin with that are like those of answers.
OF_JUDGE = "judge_"
JUDGED_KINDS = ("judged", *(f"{OF_JUDGE}{kind}" for kind in ("metrics", "failures", "provenance")))


@dataclass(frozen=True)
class FinalSet:
    """One final file with its companions."""

    #: As a person reads it: `captions STYLE`, `qa`, `qa none`; of a data set with a name after `NAME: `.
    name: str
    task: Task
    model: str
    #: {kind: path}, such as captions, results, metrics, failures, provenance.
    files: dict[str, str]
    #: The name of the data set; empty where the configuration gives it none.
    data_set: str = ""

    def read(self, kind: str) -> Any:
        """One of its JSON files.

        Raises:
            ResultError: it is damaged.
        """
        path = self.files[kind]
        if (value := read_json(path)) is None:
            raise ResultError(f"{path} is damaged; delete it, then `captionqa run` with this configuration.")
        return value


def finished_sets(config: Config, layout: Layout) -> list[FinalSet]:
    """The final files of a run, in the order of its data sets and models.

    Raises:
        ConfigError: a run is going on.
        ResultError: the run is not finished.
    """
    check_no_run(config, layout)
    sets = list(_final_sets(config, layout))
    for each in sets:
        if missing := [path for kind, path in each.files.items() if not _is_there(path)]:
            raise _unfinished(f"{missing[0]} is missing")
    if to_do := sum(items_to_do(config, layout).values()):
        raise _unfinished(f"{to_do:,} items have no result by this configuration")
    return sets


def _final_sets(config: Config, layout: Layout) -> Iterator[FinalSet]:
    for each, of_data in config.by_data_set(layout):
        for of_model in of_data.of_models(config.model_names):
            for task in each.tasks:
                kinds = (*KINDS[task], *(JUDGED_KINDS if task == "qa" and each.judge is not None else ()))
                for file in final_files(each, of_model, task):
                    files = {kind: _path(file, kind) for kind in (*kinds, *OPTIONAL_KINDS[task])}
                    there = {kind: path for kind, path in files.items() if kind in kinds or _is_there(path)}
                    name = f"{each.data_set}: {file.name}" if each.data_set else file.name
                    yield FinalSet(name, task, of_model.model, there, each.data_set)


def _path(file: FinalFile, kind: str) -> str:
    if file.task == "captions":
        return file.path if kind == "captions" else f"{file.path.removesuffix('.json')}_{kind}.json"
    return f"{file.path.removesuffix(RESULTS_ENDING)}_{kind}.json"


def _is_there(path: str) -> bool:
    return Path(path).is_file()


def _unfinished(what: str) -> ResultError:
    return ResultError(f"the run is not finished: {what}; `captionqa run` with this configuration first.")
