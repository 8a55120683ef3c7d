"""A trial of a server: a plain image and a few words, which show whether the server answers anything at all."""

import base64
import io
from collections.abc import Mapping
from functools import cache

from captionqa.client.api_key import ApiKeys
from captionqa.client.chat_completion import CompletionClient
from captionqa.client.chat_request import ChatRequest
from captionqa.client.image_part import ImagePart
from captionqa.client.request_errors import AccessRefusedError, RequestError, TransientError, UnreachableError
from captionqa.errors import ItemFailure, Reason
from captionqa.server.endpoint import Endpoint

TRIAL_TEXT = "Name the color of this image."
IMAGE_SIDE_PX = 64


class ServerTrial:
    """Sends trials; safe to share between threads, since nothing in it changes."""

    def __init__(self, client: CompletionClient, keys: ApiKeys, parameters: Mapping[str, float]):
        self._client = client
        self._keys = keys
        self._parameters = parameters

    def failure(self, server: Endpoint) -> TransientError | None:
        """Why a server does not answer; None where it answers, be it with a rejection or a refusal."""
        try:
            self._send(server)
        except TransientError as error:
            return error
        except UnreachableError:
            return TransientError(Reason.SERVER_ERROR, "it cannot be reached")
        except (ItemFailure, AccessRefusedError):
            return None
        return None

    def rejection(self, server: Endpoint) -> str | None:
        """Why a server rejects even a trial; None where it does not, or gives no answer."""
        try:
            self._send(server)
        except ItemFailure as error:
            return error.detail
        except RequestError:  # the next item gets the same error and handles it
            return None
        return None

    def _send(self, server: Endpoint) -> None:
        self._client.complete(server, self._keys.of(server), _request().body(self._parameters))


@cache
def _request() -> ChatRequest:
    from PIL import Image  # takes 0.1 s to import, and most runs need no trial

    buffer = io.BytesIO()
    Image.new("RGB", (IMAGE_SIDE_PX, IMAGE_SIDE_PX), "white").save(buffer, "PNG")
    url = b"data:image/png;base64," + base64.b64encode(buffer.getvalue())
    return ChatRequest([ImagePart(url), TRIAL_TEXT], max_tokens=1)
