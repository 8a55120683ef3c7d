"""The transport of images to the server: their bytes, or references to files that the server reads itself."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from captionqa.config.media_folder import FILE, OPTION
from captionqa.dataset.image_encoding import bytes_url
from captionqa.errors import ItemFailure, Reason, ServerRefusedError

#: How a reference that a server cannot follow shows.
REFUSED_AS = (Reason.REQUEST_REJECTED, Reason.SERVER_ERROR)

Messages = list[dict[str, Any]]
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


class Reference(bytes):
    """A file's URL that stands in a request for the bytes that were read of it.

    `in_bytes` gives the URL of what was read, whatever has become of the file since.
    """

    in_bytes: Callable[[], bytes]
    _path: Path
    _stamp: tuple[int, int] | None

    @classmethod
    def to(cls, path: Path, url: bytes, stamp: tuple[int, int] | None, kind: str, data: bytes) -> "Reference":
        """`stamp` is the file's from before its `data` were read; `kind` is Pillow's name of their format."""
        reference = cls(url)
        reference._path, reference._stamp = path, stamp
        reference.in_bytes = partial(bytes_url, kind, data)
        return reference

    def still_holds(self) -> bool:
        """Whether the file has not changed since before it was read."""
        return self._stamp is not None and _stamp(self._path) == self._stamp


class Transport:
    """How a chunk's images get to the server; safe to share between threads.

    `kind` is `client.image_transport`. With `file` those in `dataset`, a resolved folder, are referred to, until the
    server turns out not to read them.
    """

    def __init__(self, kind: str, dataset: Path):
        self._folder = dataset if kind == FILE else None
        self._lock = threading.Lock()

    def of(self, path: Path) -> Callable[[str, bytes], bytes]:
        """What makes the URL of an image that needs no change, from its format by Pillow's name and its bytes.

        `path` is its real path; to be called before the bytes are read, so that any change from then on shows.
        """
        folder = self._folder
        if folder is None or not path.is_relative_to(folder) or (url := file_url(path)) is None:
            return bytes_url
        return partial(Reference.to, path, url, _stamp(path))

    def ask(self, ask: Callable[[Messages], Answer], messages: Messages) -> Answer:
        """The answer to a conversation, asked for once more in bytes where its references were of no use.

        That is where the server cannot follow them, or where a file changed before the answer came, which may be about
        another picture then.

        Raises as `ask` does, and ServerRefusedError where the server takes no image at all.
        """
        references = list(_references(messages))
        if not references:
            return _ask_plainly(ask, messages)
        refusal = None
        try:
            answer = ask(messages)
        except ItemFailure as failure:
            if failure.reason not in REFUSED_AS:
                raise
            refusal = failure
        hold = all(reference.still_holds() for reference in references)
        if refusal is None and hold:
            return answer
        answer = _ask_plainly(ask, _in_bytes(messages))
        if refusal is not None and hold:
            self._give_up(refusal)
        return answer

    def _give_up(self, refusal: ItemFailure) -> None:
        with self._lock:
            known, self._folder = self._folder is None, None
        if not known:
            log.warning(
                "the server does not read the image files itself (%s), so the rest of this chunk's images are sent as "
                "bytes: let the server see the data set by the same path and give it %s, or set client.image_transport "
                "to bytes.",
                refusal.detail,
                OPTION,
            )


def _ask_plainly(ask: Callable[[Messages], Answer], messages: Messages) -> Answer:
    """The answer to a conversation without references."""
    try:
        return ask(messages)
    except ItemFailure as failure:
        if OPTION not in failure.detail:
            raise
        # vLLM looks for its folder before it takes any image
        raise ServerRefusedError(
            f"the server takes no image, since it does not see the folder of its {OPTION} ({failure.detail}): let it "
            "see the data set by the same path, as with a bind mount of its container, or set client.image_transport "
            "to bytes; what is answered is kept."
        ) from failure


def file_url(path: Path) -> bytes | None:
    """The URL of a file by its absolute path; None for a name that is not UTF-8, which vLLM would take for another."""
    try:
        return b"file://" + quote(str(path)).encode()
    except UnicodeEncodeError:
        return None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _references(value: Any) -> Iterator[Reference]:
    """All references in messages."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _references(part)


def _in_bytes(value: Any) -> Any:
    """Messages with bytes in place of references."""
    if isinstance(value, Reference):
        return value.in_bytes()
    if isinstance(value, Mapping):
        return {key: _in_bytes(part) for key, part in value.items()}
    return [_in_bytes(part) for part in value] if isinstance(value, list) else value
