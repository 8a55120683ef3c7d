"""Captions as rows: JSON lines and parquet, and the metadata of an imagefolder."""

from collections.abc import Iterable
from typing import Any

from captionqa.export.caption_stream import Caption
from captionqa.export.json_text import json_text
from captionqa.export.named_files import file_path
from captionqa.export.schema_columns import caption_values, schema_columns, typed_values
from captionqa.export.table import write_jsonl, write_parquet
from captionqa.export.target import Target

#: {column: its type, as `table.TYPES` names it}
COLUMNS = {
    "id": "text",
    "caption": "text",
    "model": "text",
    "style": "text",
    "prompt": "text",
    "finish_reason": "text",
    "truncated": "flag",
    "prompt_tokens": "number",
    "completion_tokens": "number",
    "thinking": "text",
}
NAME = "captions"


def write_caption_lines(captions: Iterable[Caption], target: Target) -> None:
    """captions-00000.jsonl and so on."""
    columns = schema_columns(target.schema)
    write_jsonl((_row(each) | caption_values(each.text, columns) for each in captions), target, NAME)


def write_caption_parquet(captions: Iterable[Caption], target: Target) -> None:
    """captions-00000.parquet and so on."""
    columns = schema_columns(target.schema)
    rows = (_row(each) | typed_values(caption_values(each.text, columns), columns) for each in captions)
    write_parquet(rows, {**COLUMNS, **columns}, target, NAME)


def write_imagefolder(captions: Iterable[Caption], target: Target) -> None:
    """metadata.jsonl of an imagefolder, as `datasets` reads it from the folder of the images; it is one file.

    Raises:
        ResultError: an image has no path in the folder.
    """
    with open(target.folder / "metadata.jsonl", "w", encoding="utf-8") as file:
        for caption in captions:
            path = file_path(caption.id, caption.images, "imagefolder")
            file.write(json_text({"file_name": path, "text": caption.text}) + "\n")


def _row(caption: Caption) -> dict[str, Any]:
    return {
        "id": caption.id,
        "caption": caption.text,
        **caption.circumstances(),
        "thinking": caption.thinking or None,
    }
