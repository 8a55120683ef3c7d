"""Which columns of a parquet or Arrow file hold images, and which holds the rows' names."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captionqa.config.config import Auto
from captionqa.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]  # has no type stubs

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
#: A number at the end of a name, as of image_1, image_2.
_NUMBER = re.compile(r"_?\d+$")


@dataclass(frozen=True)
class ImageColumn:
    """A column of images."""

    #: Its name, or its path with dots into structs.
    name: str
    #: Whether its cells hold lists of images.
    is_list: bool
    #: Whether its images are structs with a path beside the bytes.
    has_path: bool
    #: Whether they are texts: paths, or base64.
    is_text: bool


def image_columns(schema: "pa.Schema", wanted: str | Sequence[str] | Auto, where: str) -> list[ImageColumn]:
    """The columns of images of a schema; none where `wanted` is auto and no column looks like one.

    Raises:
        InputError: a wanted column is not there or cannot hold images, or several could be meant.
    """
    if wanted != "auto":
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        return [_wanted_column(schema, name, where) for name in names]
    by_name = {field.name: column for field in schema if (column := _column(field.name, field.type)) is not None}
    typed = [name for name in _declared(schema) if name in by_name] or [
        name for name, column in by_name.items() if column.has_path
    ]
    if not typed:
        typed = [name for name, column in by_name.items() if not column.is_text]
        typed = [name for name in typed if name.lower() in IMAGE_NAMES] or typed
    if not typed:
        typed = next(([name] for name in IMAGE_NAMES for known in by_name if known.lower() == name), [])
    if len(typed) > 1 and len({_NUMBER.sub("", name) for name in typed}) > 1:
        raise InputError(
            f"{where} has several columns of images, {', '.join(typed)}; name the one that is meant in "
            "captions.columns.image, or a list of those that belong together."
        )
    return [by_name[name] for name in typed]


def id_column(schema: "pa.Schema", wanted: str | Auto | None, images: Sequence[ImageColumn], where: str) -> str | None:
    """The column of the rows' names; None where there is none.

    Raises:
        InputError: the wanted column is not there.
    """
    if wanted is None:
        return None
    names = {field.name.lower(): field.name for field in schema if _is_name(field.type)}
    if wanted != "auto":
        if wanted not in schema.names:
            raise InputError(f"captions.columns.id: {where} has no column {wanted}; it has {', '.join(schema.names)}.")
        return wanted
    # of several images in a row, the path of one does not name the row
    taken = {column.name for column in images if column.is_list}
    return next((names[name] for name in ID_NAMES if name in names and names[name] not in taken), None)


def nested(schema: "pa.Schema", name: str) -> "pa.DataType | None":
    """The type of a column, or of a field within structs by its path with dots; None where there is none."""
    fields: Any = schema
    while True:
        field = next((field for field in fields if name == field.name or name.startswith(f"{field.name}.")), None)
        if field is None:
            return None
        if name == field.name:
            return field.type
        name, fields = name[len(field.name) + 1 :], field.type
        if not hasattr(fields, "fields"):
            return None


def _wanted_column(schema: "pa.Schema", name: str, where: str) -> ImageColumn:
    kind = nested(schema, name)
    if kind is None:
        raise InputError(f"captions.columns.image: {where} has no column {name}; it has {', '.join(schema.names)}.")
    column = _column(name, kind)
    if column is None:
        raise InputError(f"captions.columns.image: the column {name} of {where} holds {kind}, not images.")
    return column


def _column(name: str, kind: "pa.DataType") -> ImageColumn | None:
    """What a column of this type can hold; None where it cannot hold images."""
    import pyarrow.types as types  # type: ignore[import-untyped]

    kind = getattr(kind, "storage_type", kind)  # of an extension type
    is_list = hasattr(kind, "value_field")
    element = kind.value_type if is_list else kind
    if types.is_dictionary(element):
        element = element.value_type
    if types.is_struct(element):
        fields = {field.name: field.type for field in element}
        if not _is_binary(fields.get("bytes")):
            return None
        return ImageColumn(name, is_list, "path" in fields, is_text=False)
    if _is_binary(element):
        return ImageColumn(name, is_list, has_path=False, is_text=False)
    return ImageColumn(name, is_list, has_path=False, is_text=True) if _is_text(element) else None


def _declared(schema: "pa.Schema") -> list[str]:
    """The columns that `datasets` declared to be images, from what it wrote into the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [name for name, feature in features.items() if _is_image_feature(feature)]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def _is_image_feature(feature: Any) -> bool:
    if isinstance(feature, list):
        return len(feature) == 1 and _is_image_feature(feature[0])
    return isinstance(feature, dict) and (feature.get("_type") == "Image" or _is_image_feature(feature.get("feature")))


def _is_binary(kind: Any) -> bool:
    import pyarrow.types as types

    return kind is not None and any(
        test(kind) for test in (types.is_binary, types.is_large_binary, types.is_binary_view)
    )


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    tests = types.is_string, types.is_large_string, types.is_string_view
    return any(test(kind) for test in tests)


def _is_name(kind: Any) -> bool:
    import pyarrow.types as types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return _is_text(kind) or types.is_integer(kind) or bool(types.is_floating(kind))
