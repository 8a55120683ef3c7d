"""Captions as COCO's JSON (cocodataset.org, "Data format", captions): images, and annotations that name them by ids."""

import shutil
import tempfile
from collections.abc import Iterable
from typing import TextIO

from captionqa.export.caption_stream import Caption
from captionqa.export.json_text import json_text
from captionqa.export.named_files import file_path
from captionqa.export.pieces import PIECE
from captionqa.export.target import Target

HEAD = '{"info": {"description": "captions of captionqa"}, "licenses": [], "images": [\n'
MIDDLE, TAIL, BETWEEN = '\n], "annotations": [\n', "\n]}\n", ",\n"


def write_coco(captions: Iterable[Caption], target: Target) -> None:
    """captions-00000.json and so on, each complete by itself; ids count through all of them, from 1.

    Raises:
        ResultError: an image has no path in the folder.
    """
    piece = _Piece(target, 0)
    try:
        for number, caption in enumerate(captions, 1):
            path = file_path(caption.id, caption.images, "coco")
            image = json_text({"id": number, "file_name": path})
            annotation = json_text({"id": number, "image_id": number, "caption": caption.text})
            if not piece.has_room(image, annotation):
                piece.close()
                piece = _Piece(target, piece.number + 1)
            piece.add(image, annotation)
    finally:
        piece.close()


class _Piece:
    """One file; its annotations wait in an unnamed one until all its images are written."""

    def __init__(self, target: Target, number: int):
        self.number = number
        self._limit = target.shard_bytes
        path = target.folder / PIECE.format(name="captions", number=number, suffix="json")
        self._file: TextIO = path.open("w", encoding="utf-8", newline="")
        self._annotations: TextIO = tempfile.TemporaryFile("w+", encoding="utf-8", newline="", dir=target.folder)  # noqa: SIM115 - closed by `close`
        self._file.write(HEAD)
        self._bytes = len(HEAD) + len(MIDDLE) + len(TAIL)
        self._separator = ""

    def has_room(self, image: str, annotation: str) -> bool:
        return not self._separator or self._bytes + _size(image, annotation) <= self._limit

    def add(self, image: str, annotation: str) -> None:
        self._file.write(self._separator + image)
        self._annotations.write(self._separator + annotation)
        self._bytes += _size(image, annotation)
        self._separator = BETWEEN

    def close(self) -> None:
        self._file.write(MIDDLE)
        self._annotations.seek(0)
        shutil.copyfileobj(self._annotations, self._file)
        self._file.write(TAIL)
        self._file.close()
        self._annotations.close()


def _size(image: str, annotation: str) -> int:
    return len(image.encode()) + len(annotation.encode()) + 2 * len(BETWEEN)
