"""The transport of images to the server: in bytes, or as references to files that the server reads itself."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from captionqa.client.answer import Answer
from captionqa.client.chat_request import ChatRequest
from captionqa.client.image_part import FileReference
from captionqa.config.media_folder import BY_FILE, MEDIA_PATH_OPTION
from captionqa.dataset.item_entry import Stamp
from captionqa.errors import ItemFailure, Reason, ServerRefusedError

#: The failures by which a reference shows that the server cannot follow it.
UNREADABLE_AS = (Reason.REQUEST_REJECTED, Reason.SERVER_ERROR)

log = logging.getLogger(__name__)


class ImageTransport:
    """How a chunk's images get to the server; safe to share between threads.

    `_lock` guards the change of `_folder`, which happens once: threads that find out together warn once.
    """

    def __init__(self, kind: str, dataset: Path):
        """`kind` is `client.image_transport`; `dataset` is a resolved folder.

        With `file`, images in that folder are referred to, until the server turns out not to read them.
        """
        self._folder = dataset if kind == BY_FILE else None
        self._lock = threading.Lock()

    def reference_to(self, path: Path, stamp: Stamp | None) -> FileReference | None:
        """A reference to an image by its real path; None where it has to be sent in bytes.

        `stamp` was the file's before it was read, so that any later change of the file shows; None is that of a file
        which changed before.
        """
        folder = self._folder
        if folder is None or stamp is None or not path.is_relative_to(folder):
            return None
        return FileReference.to(path, stamp)

    def answer(self, send: Callable[[ChatRequest], Answer], request: ChatRequest) -> Answer:
        """The answer to a request; it is sent again in bytes where its references were of no use.

        They are of no use where the server cannot follow them, and where a file changed before the answer came: the
        answer may be about another picture then.

        Raises as `send` does, and ServerRefusedError where the server takes no image at all.
        """
        references = request.references
        if not references:
            return _send_in_bytes(send, request)
        refusal = None
        try:
            answer = send(request)
        except ItemFailure as failure:
            if failure.reason not in UNREADABLE_AS:
                raise
            refusal = failure
        unchanged = all(reference.is_unchanged() for reference in references)
        if refusal is None and unchanged:
            return answer
        answer = _send_in_bytes(send, request.in_bytes())
        if refusal is not None and unchanged:
            self._give_up(refusal)
        return answer

    def _give_up(self, refusal: ItemFailure) -> None:
        """Send the rest of the chunk's images in bytes: the server took one in bytes that it refused by reference."""
        with self._lock:
            known, self._folder = self._folder is None, None
        if not known:
            log.warning(
                "the server does not read the image files itself (%s), so the rest of this chunk's images are sent as "
                "bytes: let the server see the data set by the same path and give it %s, or set client.image_transport "
                "to bytes.",
                refusal.detail,
                MEDIA_PATH_OPTION,
            )


def _send_in_bytes(send: Callable[[ChatRequest], Answer], request: ChatRequest) -> Answer:
    """The answer to a request without references."""
    try:
        return send(request)
    except ItemFailure as failure:
        if MEDIA_PATH_OPTION not in failure.detail:
            raise
        # vLLM checks that its media folder exists before it accepts any image
        raise ServerRefusedError(
            f"the server takes no image, since it does not see the folder of its {MEDIA_PATH_OPTION} "
            f"({failure.detail}): let it see the data set by the same path, as with a bind mount of its container, or "
            "set client.image_transport to bytes; what is answered is kept."
        ) from failure
