"""Graded answers as result files of VLMEvalKit, with their accuracies.

The files are those of `infer_data_job` and `report_acc` of open-compass/VLMEvalKit, where PRED_FORMAT is tsv:
MODEL/MODEL_DATASET.tsv, quoted as its `dump` quotes, and MODEL/MODEL_DATASET_acc.csv. Its datasets are multiple choice
or open-ended, so the questions of each kind are a data set of their own; its `build_dataset` takes a table with the
columns A and B for multiple choice.
"""

import csv
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from captionqa.export.answer_stream import GradedAnswer
from captionqa.export.answer_tables import acceptable_answers
from captionqa.export.asked_order import as_asked
from captionqa.export.json_text import well_formed
from captionqa.export.target import Target
from captionqa.grading.choices import LETTERS
from captionqa.reasoning import split_reasoning
from captionqa.results.qa_record import QaRecord

#: The names of the two data sets. `openended` in a name makes VLMEvalKit take a data set that it does not know as VQA.
MULTIPLE_CHOICE, OPEN_ENDED = "captionqa_mcq", "captionqa_openended"
#: The columns before and behind those of the options.
HEAD = ("index", "question")
TAIL = ("answer", "category", "source", "image_path", "prediction", "thinking", "hit", "log")
#: The fewest options for which a table has columns.
MIN_OPTIONS = 2


def write_vlmevalkit(answers: Iterable[GradedAnswer], target: Target) -> None:
    """Write a table and its accuracies for each kind of question that there is."""
    with _Table(MULTIPLE_CHOICE, target) as multiple_choice, _Table(OPEN_ENDED, target) as open_ended:
        for graded in answers:
            table = multiple_choice if graded.record["choices"] else open_ended
            table.add(graded.record, graded.model)
        for table in (multiple_choice, open_ended):
            table.write()


class _Table:
    """The questions of one data set: spooled, since the number of columns is known at the end."""

    def __init__(self, name: str, target: Target):
        self._name, self._folder = name, target.folder
        self._model: str | None = None
        self._options = 0
        self._hits: dict[str, list[bool]] = defaultdict(list)
        self._spool: TextIO = tempfile.TemporaryFile("w+", dir=target.folder, encoding="utf-8")  # noqa: SIM115 - closed by `__exit__`

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()

    def add(self, record: QaRecord, model: str) -> None:
        self._model = model
        if choices := record["choices"]:
            self._options = max(self._options, MIN_OPTIONS, len(choices))
        if record["is_correct"] is not None:
            self._hits[record["category"]].append(record["is_correct"])
        self._spool.write(json.dumps(_row(record)) + "\n")

    def write(self) -> None:
        """Write the files, if there is a question."""
        if self._model is None:
            return
        folder = self._folder / self._model
        folder.mkdir(exist_ok=True)
        self._write_rows(folder / f"{self._model}_{self._name}.tsv")
        self._write_accuracies(folder / f"{self._model}_{self._name}_acc.csv")

    def _write_rows(self, path: Path) -> None:
        self._spool.seek(0)
        with open(path, "w", encoding="utf-8", newline="") as file:
            columns = [*HEAD, *LETTERS[: self._options], *TAIL]
            table = csv.DictWriter(
                file, columns, restval="", delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n"
            )
            table.writeheader()
            for line in self._spool:
                table.writerow(well_formed(json.loads(line)))

    def _write_accuracies(self, path: Path) -> None:
        """As `report_acc` for multiple choice, and as the evaluation of an image VQA data set, which is in per cent."""
        groups = [("Overall", [hit for hits in self._hits.values() for hit in hits]), *sorted(self._hits.items())]
        is_open = self._name == OPEN_ENDED
        head = [] if is_open else [("split", "none")]
        cells = head + [(name, _mean(hits, 100 if is_open else 1)) for name, hits in groups]
        with open(path, "w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
            table.writerows([well_formed([name for name, _ in cells]), [value for _, value in cells]])


def _row(record: QaRecord) -> Mapping[str, Any]:
    """The row of an answer, with the choices in the order in which they were asked."""
    thinking, words = split_reasoning(record["model_output"])
    correct = record["is_correct"]
    question, choices, truth, letter = as_asked(record)
    return {
        "index": record["qid"],
        "question": question,
        **dict(zip(LETTERS, choices, strict=False)),
        "answer": truth or _one_or_list(acceptable_answers(record["gt_answer"])),
        "category": record["category"],
        "source": record["source"],
        "image_path": _one_or_list(record["image_paths"]),
        "prediction": words or "",
        "thinking": record.get("thinking") or thinking,
        "hit": "" if correct is None else int(correct),
        "log": f"captionqa: {record['graded_by']}" + (f", {letter}" if letter else ""),
    }


def _one_or_list(texts: list[str]) -> str:
    """One text as it is; several, or one that looks like a list, as the list of Python that VLMEvalKit evaluates."""
    if len(texts) == 1 and not (texts[0].startswith("[") and texts[0].endswith("]")):
        return texts[0]
    return repr(texts) if texts else ""


def _mean(hits: list[bool], whole: int) -> str:
    """The share of hits in `whole`; empty, as pandas writes what is no number, where nothing is graded."""
    return str(sum(hits) / len(hits) * whole) if hits else ""
