"""Which columns of a table hold the images to caption, and which holds the rows' names."""

import re
from collections.abc import Sequence

from captionqa.config.qa_config import Auto
from captionqa.dataset.table_rows import TableColumn
from captionqa.errors import InputError

#: What columns of images are called where their type does not tell.
IMAGE_NAMES = (
    "image", "images", "img", "imgs", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "image_base64",
    "image_path", "image_paths", "file_name", "filename", "path",
)  # fmt: skip
#: What columns of names are called, the best first: a file's name before a number.
ID_NAMES = (
    "path", "file_name", "filename", "image_path", "image_name", "__key__", "key", "id", "image_id", "img_id", "uid",
    "uuid", "sample_id", "qid", "question_id", "pid", "idx", "index",
)  # fmt: skip
#: Types of columns of images: structs of bytes and path, bytes, texts with paths or base64, and lists of these.
STRUCTS, BYTES, TEXTS = ("image", "list<image>"), ("bytes", "list<bytes>"), ("string", "list<string>")
NAME_TYPES = re.compile(r"string|u?int\d+|double|float")
#: A number at the end of a name, as of image_1, image_2.
_NUMBER = re.compile(r"_?\d+$")


def image_columns(columns: Sequence[TableColumn], wanted: str | Sequence[str] | Auto, where: str) -> list[str]:
    """The columns of images; none where `wanted` is auto and no column looks like one. `where` names the table.

    Raises:
        InputError: a wanted column is not there or cannot hold images, or several could be meant.
    """
    if wanted != "auto":
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        for name in names:
            _check_wanted(columns, name, where)
        return names
    found = [column.name for column in columns if column.is_declared_image and column.type in STRUCTS + BYTES]
    for types in (STRUCTS, BYTES):
        found = found or [column.name for column in columns if column.type in types]
        found = [name for name in found if name.lower() in IMAGE_NAMES] or found
    if not found:
        texts = {column.name.lower(): column.name for column in columns if column.type in TEXTS}
        found = [next((texts[name] for name in IMAGE_NAMES if name in texts), "")]
    if len(found) > 1 and len({_NUMBER.sub("", name) for name in found}) > 1:
        raise InputError(
            f"{where} has several columns of images, {', '.join(found)}; name the one that is meant in "
            "captions.columns.image, or a list of those that belong together."
        )
    return [name for name in found if name]


def id_column(columns: Sequence[TableColumn], wanted: str | Auto | None, where: str) -> str | None:
    """The column of the rows' names; None where there is none.

    Raises:
        InputError: the wanted column is not there.
    """
    if wanted is None:
        return None
    if wanted != "auto":
        names = [column.name for column in columns]
        if wanted not in names:
            raise InputError(f"captions.columns.id: {where} has no column {wanted}; it has {', '.join(names)}.")
        return wanted
    by_name = {column.name.lower(): column.name for column in columns if NAME_TYPES.fullmatch(column.type)}
    return next((by_name[name] for name in ID_NAMES if name in by_name), None)


def _check_wanted(columns: Sequence[TableColumn], name: str, where: str) -> None:
    column = next((column for column in columns if name == column.name or name.startswith(f"{column.name}.")), None)
    if column is None:
        known = ", ".join(column.name for column in columns)
        raise InputError(f"captions.columns.image: {where} has no column {name}; it has {known}.")
    if name == column.name and column.type not in (*STRUCTS, *BYTES, *TEXTS, "null"):
        raise InputError(f"captions.columns.image: the column {name} of {where} holds {column.type}, not images.")
