"""An item of a chunk: the words and the image files of one request, and how the journal knows them again."""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

from captionqa.client.image_transport import Transport
from captionqa.config.prompts import chat_messages, question_text
from captionqa.config.settings import AnswerSettings, image_budget_px
from captionqa.dataset.image_encoding import data_url
from captionqa.dataset.image_file import read_bytes
from captionqa.dataset.image_path import locate
from captionqa.errors import ItemFailure, Reason

#: What a server says to an image that it cannot decode.
DAMAGE_SHOWS_AS = (Reason.REQUEST_REJECTED, Reason.SERVER_ERROR)
#: Decoding more images at once than there are cores is no faster, and takes memory by their size.
_cores = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))


class Item:
    """One line of a chunk's item list; raises ItemFailure where an image is not to be had.

    `dataset` and `allowed_roots` are resolved folders.
    """

    def __init__(
        self,
        entry: Mapping[str, Any],
        settings: AnswerSettings,
        dataset: Path,
        allowed_roots: Sequence[Path],
        transport: Transport,
    ):
        names = entry.get("images", [entry["id"]])
        self.id: str = entry["id"]
        self._settings = settings
        self._transport = transport
        self.question: str | None = entry.get("question")
        self._text: str = (
            settings["prompt"] if self.question is None else question_text(self.question, settings.get("instruction"))
        )
        paths = [locate(dataset, name, allowed_roots) for name in names]
        self._files = [
            _File(name, path, stamp) for name, path, stamp in zip(names, paths, entry["stamps"], strict=True)
        ]

    def is_as_in(self, line: Mapping[str, Any], said: str | None = None) -> bool:
        """Whether a journal line is about the same words and files, and goes on from the same answer where one was
        `said`; reads a file only where its stamp changed."""
        marks = line["files"]
        return (
            line["prompt"] == self._prompt_digest(said)
            and len(marks) == len(self._files)
            and all(file.same_as(mark) for file, mark in zip(self._files, marks, strict=True))
        )

    def messages(self) -> list[dict[str, Any]]:
        """The request's conversation; reads the files."""
        urls = [self._url(file) for file in self._files]
        try:
            return chat_messages(self._text, urls)
        except ValueError as error:
            raise ItemFailure(Reason.MISSING_IMAGE, str(error)) from error

    def damage_behind(self, failure: ItemFailure) -> ItemFailure | None:
        """The damaged image that a server's refusal comes from, if it does; only now all are decoded to their end."""
        if failure.reason not in DAMAGE_SHOWS_AS:
            return None
        try:
            for file in self._files:
                self._url(file, decode=True)
        except ItemFailure as damage:
            return damage if damage.reason is Reason.UNREADABLE_IMAGE else None
        return None

    def _url(self, file: "_File", decode: bool = False) -> bytes:
        budget_px = image_budget_px(self._settings, len(self._files))
        try:
            untouched = self._transport.of(file.path)
            # what is decoded was read before, and is known by what it held then
            data = read_bytes(file.path) if decode else file.read()
            with _cores:
                return data_url(data, self._settings["images"], budget_px, decode, untouched)
        except ItemFailure as failure:
            raise ItemFailure(failure.reason, f"{file.name!r}: {failure.detail}") from failure

    def mark(self, said: str | None = None) -> dict[str, Any]:
        """What a journal line says of the item, once its files were read or found there."""
        return {"id": self.id, "prompt": self._prompt_digest(said), "files": [file.mark() for file in self._files]}

    def key(self) -> tuple[str, ...]:
        """The same for items whose requests are the same: equal words, files of equal content in the same order."""
        return request_key(self.mark())

    def digests(self) -> list[str]:
        """Of the files' contents, in their order."""
        return [digest for _, _, digest in self.mark()["files"]]

    def _prompt_digest(self, said: str | None) -> str:
        text = self._text if said is None else f"{self._text}\0{said}"
        return _digest(text.encode("utf-8", "surrogatepass"))  # a model's words may hold half of a pair


def request_key(mark: Mapping[str, Any]) -> tuple[str, ...]:
    """An item's key, from its mark in a journal line."""
    return mark["prompt"], *(digest for _, _, digest in mark["files"])


class _File:
    """An image file of an item; its content's digest is known once it was read or found in the journal."""

    def __init__(self, name: str, path: Path, stamp: list[int] | None):
        self.name = name
        self.stamp = stamp
        self.path = path
        self._digest: str | None = None

    def read(self) -> bytes:
        data = read_bytes(self.path)
        self._digest = _digest(data)
        return data

    def mark(self) -> list[Any]:
        """Name, stamp and content digest, as the journal keeps them."""
        return [self.name, self.stamp, self._digest]

    def same_as(self, mark: list[Any]) -> bool:
        name, stamp, digest = mark
        if self.name != name:
            return False
        unchanged = self.stamp is not None and self.stamp == stamp
        self._digest = digest if unchanged else _digest(read_bytes(self.path))
        return self._digest == digest


def _digest(data: bytes) -> str:
    return blake3(data).hexdigest(12)
