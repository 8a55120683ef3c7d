"""One chat completion over HTTP: an answer, or what kind of failure it was."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from captionqa.endpoint import Endpoint
from captionqa.errors import ItemFailure, Reason

MAX_RETRY_AFTER_S = 600.0
CONNECT_TIMEOUT_S = 10.0
#: The names of urllib3's errors that requests wraps in a ConnectionError.
NEVER_CONNECTED = ("NewConnectionError", "NameResolutionError")
TIMED_OUT_HALF_WAY = "ReadTimeoutError"
NOT_FINISHED = ("abort", "error")
TRANSIENT_STATUS = frozenset({408, 429})
#: The key or the model is refused, whatever is asked.
REFUSED_STATUS = frozenset({401, 404})


@dataclass(frozen=True)
class Answer:
    """The model's own words, why it stopped, the tokens read and written, and the server they came from."""

    text: str
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    server: dict[str, Any]


class Transient(Exception):
    """An attempt on a server failed in a way that another may not."""

    server: Endpoint

    def __init__(self, reason: Reason, detail: str, retry_after_s: float = 0.0):
        super().__init__(detail)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Broken(Transient):
    """The connection broke while the server worked on the request: it may have crashed on it."""


class Unreachable(Exception):
    """No connection was made: the request never reached a server, so the item is not to blame."""


class Refused(Exception):
    """The server refuses the key or the model, so the item is not to blame."""

    def __init__(self, status: int, detail: str):
        super().__init__(f"HTTP {status}: {detail}")
        self.status = status


class Connection:
    """Connections to servers; safe to share between threads.

    `trust_env` obeys the environment's proxies, which are on the way to an outside server, not to a compute node.
    """

    def __init__(self, concurrency: int, timeout_s: float, trust_env: bool):
        self._timeout_s = (CONNECT_TIMEOUT_S, timeout_s)
        self._session = requests.Session()
        self._session.trust_env = trust_env
        self._session.mount("http://", HTTPAdapter(pool_maxsize=concurrency))
        self._session.mount("https://", HTTPAdapter(pool_maxsize=concurrency))

    def complete(self, server: Endpoint, key: str | None, body: Mapping[str, Any]) -> Answer:
        """Send one request; `body` is what the API wants but for the model.

        Raises:
            Transient, Broken, Unreachable, Refused: as they say.
            ItemFailure: request_rejected.
        """
        try:
            response = self._session.post(
                f"{server.url}/v1/chat/completions",
                json={"model": server.model, **body},
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=self._timeout_s,
            )
        except (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError) as error:
            raise Unreachable from error
        except requests.exceptions.Timeout as error:
            raise self._timed_out() from error
        except requests.exceptions.ConnectionError as error:
            if TIMED_OUT_HALF_WAY in repr(error):
                raise self._timed_out() from error
            if any(sign in repr(error) for sign in NEVER_CONNECTED):
                raise Unreachable from error
            raise Broken(Reason.SERVER_ERROR, "the connection broke before the answer was whole") from error
        except requests.exceptions.RequestException as error:
            raise Transient(Reason.SERVER_ERROR, f"the answer was cut: {type(error).__name__}") from error
        return _read(response, server)

    def _timed_out(self) -> Transient:
        return Transient(Reason.TIMEOUT, f"no answer within {self._timeout_s[1]:.0f} s")


def _read(response: requests.Response, server: Endpoint) -> Answer:
    status = response.status_code
    if status in REFUSED_STATUS:
        raise Refused(status, _excerpt(response))
    if status in TRANSIENT_STATUS or status >= 500:
        reason = Reason.TIMEOUT if status == 408 else Reason.SERVER_ERROR
        raise Transient(reason, f"HTTP {status}: {_excerpt(response)}", _retry_after_s(response))
    if status != 200:
        raise ItemFailure(Reason.REQUEST_REJECTED, f"HTTP {status}: {_excerpt(response)}")
    try:
        value = json.loads(response.content)
        choice = value["choices"][0]
        text = choice["message"]["content"] or ""
        if choice.get("finish_reason") in NOT_FINISHED:
            raise Transient(Reason.SERVER_ERROR, f"the server gave up half way ({choice['finish_reason']})")
        usage = value.get("usage") or {}
        if not isinstance(text, str):
            raise TypeError("content is no text")
        return Answer(
            text,
            choice.get("finish_reason"),
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
            {"url": server.url, "generation": server.generation, **server.versions},
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Transient(Reason.SERVER_ERROR, f"the answer is no chat completion: {_excerpt(response)}") from error


def _excerpt(response: requests.Response) -> str:
    """The server's own message, short; never the request, which holds the image."""
    try:
        message = response.json()
        message = message.get("error", message)
        text = message.get("message", message) if isinstance(message, dict) else message
    except (ValueError, AttributeError):
        text = response.text
    return " ".join(str(text).split())[:300]


def _retry_after_s(response: requests.Response) -> float:
    """Seconds that a Retry-After header asks for, given as seconds or as a date of the server's own clock."""
    value = response.headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        until = _timestamp(value)
        now = _timestamp(response.headers.get("Date", "")) or time.time()
        seconds = until - now if until is not None else 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
