"""Which columns of a table hold what: as configured, as a preset says, or by their names."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from captionqa.config.qa_config import ColumnsConfig
from captionqa.dataset.field_value import Source, columns_in, paths_in
from captionqa.dataset.json_elements import KEY_COLUMN
from captionqa.dataset.table_rows import TableColumn
from captionqa.errors import InputError

#: The fields whose value is a source: what `field_value.value_of` takes.
FIELDS = ("qid", "question", "answer", "choices", "images", "category", "source", "hint", "context", "type")
#: The names by which a column of choices, or of images, is found where none is configured.
CHOICES_NAMES = ("choices", "options")
IMAGES_NAMES = ("image", "images")
#: Columns whose names look like what they may hold.
_LIKE_CHOICES = re.compile(
    r"(?:answer_?)?(?:choices?|options?)(?:_?(?:list|text)s?)?|candidates|alternatives|opts", re.IGNORECASE
)
_LIKE_ANSWERS = re.compile(
    r"answers|(?:gt|gold|correct|true|right)(?:[ _]?(?:answers?|option|choice|label))?|ground_?truth|labels?|targets?",
    re.IGNORECASE,
)
_LIKE_IMAGES = re.compile(
    r"(?:\w*_)?(?:images?|imgs?|pictures?|photos?)(?:_?(?:\d{1,2}|bytes|paths?|files?|urls?|base64|b64))?",
    re.IGNORECASE,
)
#: Where there are no images, the key of a table that has them.
_LIKE_IMAGE_IDS = re.compile(r"(?:image|img)_?(?:id|name)", re.IGNORECASE)
_LIKE_IDS = re.compile(r"(?:\w*_)?(?:id|idx|index|uid)|questionId", re.IGNORECASE)
#: A column with one choice: A, option_a, choice_0.
_LETTERED = re.compile(r"(?P<prefix>(?:(?:option|choice|opt)[ _]?)?)(?P<label>[A-Za-z]|\d{1,2})", re.IGNORECASE)


@dataclass(frozen=True)
class QuestionColumns:
    """Where each field of a question is."""

    qid: Source = None
    question: Source = None
    answer: Source = None
    #: A column with lists, or columns with a choice each.
    choices: Source = None
    images: Source = None
    category: Source = None
    source: Source = None
    hint: Source = None
    type: Source = None
    context: Source = None
    #: The column of lists of which each element is a question of its own.
    explode: str | None = None
    #: The list of rows in an object of JSON.
    rows: str | None = None
    #: A second table with further columns: {file, by, and as needed rows, is}.
    join: Mapping[str, str] | None = None
    #: {ground truth in the table: what it means}.
    answer_values: Mapping[str, str] = field(default_factory=dict)
    #: Whether the picture shows the choices, so that they are not written below the question.
    choices_in_image: bool = False
    #: Whether the qid of another row in place of an image means that row's images.
    shared_images: bool = False
    #: What was settled without the user, or left out, a sentence each.
    notes: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """All columns that a row is read with."""
        return named_columns({one.name: getattr(self, one.name) for one in fields(self)})

    def image_names(self) -> list[str]:
        """The columns with images."""
        return list(dict.fromkeys(columns_in(self.images)))


def question_columns(
    table: Path, columns: Sequence[TableColumn], wanted: ColumnsConfig, layout: Mapping[str, Any] | None = None
) -> QuestionColumns:
    """The columns of a table by the configuration, then by a preset's layout, then by their names.

    Raises:
        InputError: a column that is needed or named is missing, two could be meant, or one that looks as if it held
            choices, images or answers would be left out.
    """
    names = [column.name for column in columns]
    found: dict[str, Any] = {}
    for key in (one.name for one in fields(ColumnsConfig)):
        configured = getattr(wanted, key)
        if configured != "auto" and configured is not None and configured != {} and configured is not False:
            _check_named(table, names, key, configured, wanted)
            found[key] = configured
        elif configured is None and key in FIELDS:
            found[key] = None
    if layout is not None:
        found = {key: _present(value, names) for key, value in layout.items()} | found
        return _with_explode(QuestionColumns(**found, notes=_unused_choices(QuestionColumns(**found), names)))
    notes: list[str] = []
    by_name = _ByName(table, names, notes)
    for key, look in by_name.fields().items():
        if key not in found:
            found[key] = look()
    _check_repeated(table, names, QuestionColumns(**found))
    return _with_explode(QuestionColumns(**found, notes=tuple(notes)))


def _unused_choices(found: QuestionColumns, names: Sequence[str]) -> tuple[str, ...]:
    """A sentence on columns that look like choices, beside a preset that uses none."""
    if found.choices is not None or found.choices_in_image:
        return ()
    lettered = [name for columns in _lettered_columns(names) for name in columns]
    like = [name for name in names if name in lettered or _LIKE_CHOICES.fullmatch(name)]
    unused = ", ".join(name for name in like if name not in found.names())
    return (f"not used: {unused} may hold choices (qa.columns.choices)",) if unused else ()


def _with_explode(columns: QuestionColumns) -> QuestionColumns:
    """The columns with the list that a question's path, such as questions[].question, goes through."""
    if columns.explode is None and isinstance(columns.question, str) and "[]" in columns.question:
        return replace(columns, explode=columns.question.partition("[]")[0])
    return columns


def missing_for(layout: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """The columns that a preset's layout needs and a table does not have.

    Category, source, hint and context are optional; of a list of columns one is enough. A joined table has those of
    the others that the first one lacks.
    """
    missing: list[str] = []
    keys = ("qid", "question", "images") if layout.get("join") else ("qid", "question", "answer", "choices", "images")
    for key in (*keys, "explode"):
        source = layout.get(key)
        if not isinstance(source, list):
            missing += _absent(source, names)
        elif all(_absent(one, names) for one in source):
            missing += _absent(source[0], names)
    return list(dict.fromkeys(missing))


def _absent(source: Any, names: Sequence[str]) -> list[str]:
    """The columns of a source that a table does not have; the name of a column may itself have dots."""
    known = {*names, KEY_COLUMN}
    paths = [source["by"]] if isinstance(source, Mapping) and "by" in source else paths_in(source)
    return [path for path in paths if path not in known and not set(columns_in(path)) <= known]


def named_columns(layout: Mapping[str, Any]) -> list[str]:
    """All columns of the table that a layout names."""
    named = [name for one in FIELDS for read in (columns_in, paths_in) for name in read(layout.get(one))]
    by = [one["by"] for one in (layout.get("join"), layout.get("images")) if isinstance(one, Mapping)]
    return list(dict.fromkeys([*named, *by, *filter(None, [layout.get("explode")])]))


def _present(value: Any, names: Sequence[str]) -> Any:
    """A preset's list of columns without those that the table does not have."""
    if not isinstance(value, list):
        return value
    return [one for one in value if not _absent(one, names)]


def _check_named(table: Path, names: Sequence[str], key: str, source: Any, wanted: ColumnsConfig) -> None:
    """Raise InputError where the configuration names a column that the table does not have."""
    if key not in FIELDS and key != "explode":
        return
    missing = _absent(source, names)
    if missing and not wanted.join:
        raise InputError(f"qa.columns.{key}: {table} has no column {', '.join(missing)}; it has {', '.join(names)}.")


def _check_repeated(table: Path, names: Sequence[str], found: QuestionColumns) -> None:
    if repeated := next((name for name in found.names() if names.count(name) > 1), None):
        raise InputError(f"{table} has two columns called {repeated!r}; give each a name of its own.")


class _ByName:
    """Finds the columns of fields that neither the configuration nor a preset names."""

    def __init__(self, table: Path, names: Sequence[str], notes: list[str]):
        self._table = table
        self._names = names
        self._notes = notes

    def fields(self) -> dict[str, Any]:
        """{field: what finds its source}."""
        return {
            "question": self._question,
            "choices": self._choices,
            "images": self._images,
            "answer": self._answer,
            "qid": self._qid,
            "category": lambda: self._exact("category"),
            "source": lambda: self._exact("source"),
        }

    def _exact(self, name: str) -> str | None:
        """The column of this name, also in capitals and with blanks around it if there is one such."""
        like = [column for column in self._names if column.strip().lower() == name]
        return name if name in self._names else like[0] if len(like) == 1 else None

    def _question(self) -> str:
        found = self._exact("question")
        if found is not None:
            return found
        advice = "name the column of the questions in qa.columns.question"
        if KEY_COLUMN in self._names and any(map(str.isdecimal, self._names)):  # pandas, column by column
            advice = "write it again with to_json(orient='records')"
        raise InputError(f"{self._table} has no column question and has {', '.join(self._names)}; {advice}.")

    def _qid(self) -> str | None:
        if found := self._exact("qid"):
            return found
        like = [name for name in self._names if _LIKE_IDS.fullmatch(name)]
        advice = f"; set qa.columns.qid if {' or '.join(like[:3])} holds them" if like else ""
        self._notes.append(f"no column qid: each question is called by the number of its row{advice}")
        return None

    def _answer(self) -> str | None:
        found = self._exact("answer")
        like = [name for name in self._names if _LIKE_ANSWERS.fullmatch(name)]
        if found is None and like:
            raise InputError(
                f"{self._table} has no column answer, and {' and '.join(like)} may hold the answers; set "
                f"qa.columns.answer: {like[0]}, or null to ask without grading."
            )
        if found is None:
            self._notes.append("no column answer: the questions are asked and not graded")
        elif like:
            self._notes.append(f"not used: {', '.join(like)} may hold answers, too (qa.columns.answer)")
        return found

    def _images(self) -> str | None:
        found = list(filter(None, map(self._exact, IMAGES_NAMES)))
        if len(found) > 1:
            raise InputError(
                f"{self._table} has the columns {' and '.join(found)}; name the one with the images in "
                "qa.columns.images, or both as a list."
            )
        like = [name for name in self._names if _LIKE_IMAGES.fullmatch(name) and name not in found]
        if not found:
            like += [name for name in self._names if _LIKE_IMAGE_IDS.fullmatch(name)]
        if like and not found:
            raise InputError(
                f"{self._table} has no column image, and {', '.join(like)} may hold images; set qa.columns.images: "
                f"{like[0] if len(like) == 1 else _as_list(like)}, or null to ask without images."
            )
        if like:
            self._notes.append(f"not used: {', '.join(like)} may hold images, too (qa.columns.images)")
        elif not found:
            self._notes.append("no column image: the questions are asked without images")
        return found[0] if found else None

    def _choices(self) -> str | list[str] | None:
        found = list(filter(None, map(self._exact, CHOICES_NAMES)))
        sets = _lettered_columns(self._names)
        candidates = [*found, *map(_as_list, sets)]
        if len(candidates) > 1:
            raise InputError(
                f"{self._table} has the columns {' and '.join(candidates)}; name the one with the choices in "
                "qa.columns.choices, or set it to null where the choices are in the questions' text."
            )
        if candidates:
            return found[0] if found else sets[0]
        if like := [name for name in self._names if _LIKE_CHOICES.fullmatch(name)]:
            raise InputError(
                f"{self._table}: {' and '.join(like)} may hold choices, which would not be asked; set "
                f"qa.columns.choices: {like[0]}, or null where the choices are in the questions' text."
            )
        return None


def _as_list(names: Sequence[str]) -> str:
    return f"[{', '.join(names)}]"


def _lettered_columns(names: Sequence[str]) -> list[list[str]]:
    """The sets of columns with a choice each: A, B, C, or option_a, option_b, or choice_0, choice_1."""
    return [columns for columns in _labelled(names) if len(columns) > 1]


def _labelled(names: Sequence[str]) -> Iterator[list[str]]:
    """Columns whose names differ by a letter or number alone, from the first letter or number without a gap."""
    by_form: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name in names:
        match = _LETTERED.fullmatch(name)
        if match is None or (not match["prefix"] and not match["label"].isupper()):
            continue
        label = match["label"]
        form = "digit" if label.isdigit() else "upper" if label.isupper() else "lower"
        by_form[match["prefix"], form][label] = name
    for (_, form), named in by_form.items():
        first = ("1" if "0" not in named else "0") if form == "digit" else "A" if form == "upper" else "a"
        columns: list[str] = []
        while first in named:
            columns.append(named[first])
            first = str(int(first) + 1) if form == "digit" else chr(ord(first) + 1)
        yield columns
