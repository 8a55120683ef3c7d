"""The question file, or files: rows of tables read as questions, each fit to be asked or with what is wrong with it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from captionqa.config.presets import load_preset
from captionqa.config.qa_config import ColumnsConfig
from captionqa.dataset.captionqa_questions import Shuffler
from captionqa.dataset.cell import is_empty
from captionqa.dataset.field_value import ELEMENT_NUMBER, lookup, number_text, parsed, reader_of, value_of
from captionqa.dataset.index_truths import IndexTruths
from captionqa.dataset.joined_table import JoinedTable, joined_images, second_table
from captionqa.dataset.made_qids import Qids
from captionqa.dataset.preset_fit import fitting_layout
from captionqa.dataset.question_columns import question_columns
from captionqa.dataset.question_images import RowImages
from captionqa.dataset.question_reading import QuestionReader
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.dataset.table_files import TableFile, find_table_files
from captionqa.dataset.table_rows import RowPlace, TableColumn, TableRow, read_columns, read_rows
from captionqa.errors import InputError
from captionqa.grading.scoring import GradingRules

KEY = "qa.question_path"
#: A file without columns for choices.
NO_COLUMNS = ColumnsConfig(choices=None)
AnyPaths = str | Path | Sequence[str]


class Questions:
    """The questions of a table; iterating reads its rows, a few at a time, in their order.

    Duplicate qids are not noticed here.

    Raises:
        InputError: a file is missing or is not what it should be, has no rows, or lacks a column.
    """

    def __init__(
        self,
        paths: AnyPaths,
        wanted: ColumnsConfig = NO_COLUMNS,
        dataset: Path | None = None,
        preset: str | None = None,
        rules: GradingRules | None = None,
        instructions: Mapping[str, str] | None = None,
        allow_urls: bool = False,
        protocol: str | None = None,
    ):
        """Images are named relative to `dataset`, by default the folder of the first file.

        `instructions` are added below questions by their type. `protocol` is `qa.protocol`.
        """
        self._protocol = protocol
        rules = rules or GradingRules()
        self._instructions = instructions or {}
        found = find_table_files(str(paths) if isinstance(paths, Path) else paths, KEY)
        self.files = found.files
        self.table_columns = _first_columns(self.files, wanted, preset)
        names = [column.name for column in self.table_columns]
        layout = None if preset is None else fitting_layout(preset, self.files[0].path, names)
        self.columns = question_columns(self.files[0].path, self.table_columns, wanted, layout)
        #: What was settled or left out, a sentence each; complete once all rows were read.
        self.notes = self._first_notes = [*found.notes, *self.columns.notes, *self._lacking(names)]
        #: Whether images at http(s) addresses are fetched.
        self.allow_urls = allow_urls
        self._dataset = dataset or self.files[0].path.parent
        self._classes = {column.name: column.classes for column in self.table_columns if column.classes}
        if rules.answer_is in ("index0", "index1") and isinstance(self.columns.answer, str):
            self._classes.pop(self.columns.answer, None)
        self._images = RowImages(self._dataset, self.columns.images, allow_urls, self.columns.explode)
        self._rules = rules
        self._index_truths = IndexTruths(rules)
        self._read_qid = reader_of(self.columns.qid)
        self._qids = self._new_qids()

    @property
    def faults(self) -> list[str]:
        """What a run has to stop for, a sentence each; complete once all rows were read."""
        faults = [fault] if (fault := self._index_truths.fault()) else []
        if self._images.address:
            faults.append(
                f"{self._images.address}, and addresses are not fetched: download the images and give their paths, or "
                "set qa.allow_urls: true for those of http(s)"
            )
        return faults

    def _lacking(self, names: Sequence[str]) -> Iterator[str]:
        """A sentence for each further shard that lacks a column which is used; rows of JSON may differ as they like."""
        for file in self.files[1:]:
            if file.kind in ("json", "jsonl"):
                continue
            has = {column.name for column in read_columns(file)}
            if has and (missing := [name for name in self.columns.names() if name in names and name not in has]):
                yield f"{file.path} has no column {', '.join(missing)}, which {self.files[0].path} has"

    def paths(self) -> list[Path]:
        """All files that the questions are read from."""
        joins = [one for one in (self.columns.join, self.columns.images) if isinstance(one, Mapping)]
        seconds = [second_table(self.files[0].path, join).files for join in joins]
        return [file.path for files in (self.files, *seconds) for file in files]

    def __iter__(self) -> Iterator[QuestionRow | InvalidRow]:
        columns = self.columns
        self.notes, self._index_truths = [*self._first_notes], IndexTruths(self._rules)
        joined = JoinedTable.of(self.files[0].path, columns, [column.name for column in self.table_columns])
        by_key = joined_images(self.files[0].path, columns.images, self._dataset)
        shared = self._shared_images() if columns.shared_images else {}
        self._qids = self._new_qids()
        reader = QuestionReader(columns, self._classes, self._instructions, Shuffler() if self._protocol else None)
        rows: Counter[Path] = Counter()
        unanswered = 0
        for row in self._rows():
            rows[row.place.file] += 1
            for qid, cells in self._exploded(row):
                cells = joined.joined(cells) if joined else cells
                question = reader.question(qid, cells, partial(self._images_of, cells, row.place, by_key, shared))
                if "invalid" not in question:
                    unanswered += question["answer"] is None
                    self._index_truths.add(question)
                yield question
        if not rows:
            raise InputError(f"{self.files[0].path} has no rows; give at least one question.")
        self.notes += [f"{file.path} has no rows" for file in self.files if not rows[file.path]]
        self.notes += self._qids.notes()
        if unanswered and columns.answer is not None:
            self.notes.append(f"{unanswered:,} without a ground truth: asked and not graded")

    def _rows(self) -> Iterator[TableRow]:
        columns = self.columns
        return read_rows(self.files, columns.names(), columns.image_names(), columns.rows)

    def _exploded(self, row: TableRow) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(qid, cells) of each question of a row: of one, or of each element of a list."""
        explode = self.columns.explode
        if explode is None:
            yield self._qid(row.cells, row.place), row.cells
            return
        cells = row.cells
        elements = parsed(lookup(cells, explode))
        for number, element in enumerate(elements if isinstance(elements, list) else ()):
            inner = {**cells, explode: element, ELEMENT_NUMBER: number}
            qid = value_of(inner, self.columns.qid)
            made = is_empty(qid) or number_text(qid) == number_text(value_of(cells, self.columns.qid) or "")
            yield f"{self._qid(cells, row.place)}/{number}" if made else number_text(qid), inner

    def _qid(self, cells: Mapping[str, Any], place: RowPlace) -> str:
        qid = self._read_qid(cells)
        if isinstance(qid, list) and len(qid) == 1:
            qid = qid[0]
        return self._qids.qid(qid, place)

    def _new_qids(self) -> Qids:
        has_column = self.columns.qid is not None
        return Qids(has_column, has_column and self.columns.explode is None, len(self.files) == 1)

    def _images_of(
        self,
        cells: Mapping[str, Any],
        place: RowPlace,
        by_key: Mapping[str, list[str | None]] | None,
        shared: Mapping[str, list[str | None]],
    ) -> list[str | None]:
        name = self.columns.images
        if by_key is not None and isinstance(name, Mapping):
            return by_key.get(number_text(lookup(cells, str(name["by"]))), [])
        if shared and isinstance(name, str):
            other = lookup(cells, name)
            if isinstance(other, str | int) and (found := shared.get(number_text(other))) is not None:
                return found
        return self._images.images(cells, place)

    def _shared_images(self) -> dict[str, list[str | None]]:
        """{qid: images} of the rows that have images of their own."""
        name = self.columns.images
        shared: dict[str, list[str | None]] = {}
        self._qids = self._new_qids()
        if not isinstance(name, str):
            return shared
        for row in self._rows():
            cell = lookup(row.cells, name)
            if not (isinstance(cell, str | int) and number_text(cell).isdecimal()):
                shared[self._qid(row.cells, row.place)] = self._images.images(row.cells, row.place)
        return shared


def _first_columns(files: Sequence[TableFile], wanted: ColumnsConfig, preset: str | None) -> list[TableColumn]:
    """The columns of the first file that has some."""
    layouts = load_preset(preset).layouts if preset else ()
    rows = wanted.rows or next((key for layout in layouts if (key := layout.columns.get("rows"))), None)
    for file in files:
        if columns := read_columns(file, rows if file.kind == "json" else None):
            return columns
    raise InputError(f"{files[0].path} has no rows; give at least one question.")
