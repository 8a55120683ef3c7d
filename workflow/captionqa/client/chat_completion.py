"""One chat completion over HTTP: an answer, or what kind of failure it was."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ProxyError, TimeoutError

from captionqa.client.request_body import Body
from captionqa.errors import ItemFailure, Reason
from captionqa.server.endpoint import Endpoint

MAX_RETRY_AFTER_S = 600.0
CONNECT_TIMEOUT_S = 10.0
#: Servers come and go; connections to so many addresses are kept.
ADDRESSES = 64
NOT_FINISHED = ("abort", "error")
TRANSIENT_STATUS = frozenset({408, 429})
#: How vLLM says, with status 500, that it cannot read a file that it was referred to: another attempt changes nothing.
UNREAD_FILE = re.compile(r"allowed-local-media-path|\[Errno (?:2|5|13|20|21|36|40|116)\]")
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

    def __init__(self, reason: Reason, detail: str, retry_after_s: float = 0.0, overload: bool = False):
        """`overload` says that the server had no time for the request."""
        super().__init__(detail)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.overload = overload or reason is Reason.TIMEOUT


class Broken(Transient):
    """The connection broke while the server worked on the request: it may have crashed on it."""


class Unreachable(Exception):
    """No connection was made: the request never reached a server, so the item is not to blame."""


class Refused(Exception):
    """The server refuses the key or the model, or is elsewhere, so the item is not to blame."""

    def __init__(self, status: int, detail: str):
        super().__init__(f"HTTP {status}: {detail}")
        self.status = status


class Connection:
    """Connections to servers; safe to share between threads.

    `trust_env` obeys the environment's proxies, which are on the way to an outside server, not to a compute node.
    """

    def __init__(self, concurrency: int, timeout_s: float, trust_env: bool):
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=timeout_s)
        self._session = requests.Session()
        self._session.trust_env = trust_env
        self._route = lru_cache(ADDRESSES)(self._find_route)

    def complete(self, server: Endpoint, key: str | None, body: Body) -> Answer:
        """Send one request.

        Raises:
            Transient, Broken, Unreachable, Refused: as they say.
            ItemFailure: request_rejected.
        """
        parts = body.with_model(server.model)
        headers = {"Content-Type": "application/json", "Content-Length": str(sum(map(len, parts)))}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        try:
            connections, path = self._route(server.url)
            # no redirect is followed: the key is for this server
            response = connections.urlopen(
                "POST",
                path,
                body=parts,
                headers=headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
            )
        except (ConnectTimeoutError, ProxyError) as error:
            raise Unreachable from error
        except TimeoutError as error:
            raise self._timed_out() from error
        except HTTPError as error:
            raise Broken(Reason.SERVER_ERROR, "the connection broke before the answer was whole") from error
        except requests.RequestException as error:
            raise Transient(Reason.SERVER_ERROR, f"it cannot be asked: {error}") from error
        try:
            data = response.read()
        except TimeoutError as error:
            raise self._timed_out() from error
        except HTTPError as error:
            raise Transient(Reason.SERVER_ERROR, f"the answer was cut: {type(error).__name__}") from error
        if response.status == 500 and UNREAD_FILE.search(excerpt := _excerpt(data)) and _refers_to_files(parts):
            raise ItemFailure(Reason.REQUEST_REJECTED, f"HTTP 500: {excerpt}")
        return _read(response.status, response.headers, data, server)

    def _find_route(self, url: str) -> tuple[urllib3.HTTPConnectionPool, str]:
        """The connections to a server and the path to ask for, by the proxy and certificates that requests would take.

        requests itself is left out of each single request: it takes longer than all else but the image.
        """
        request = requests.Request("POST", f"{url}/v1/chat/completions").prepare()
        settings = self._session.merge_environment_settings(request.url, {}, None, None, None)
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=self._concurrency)
        connections = adapter.get_connection_with_tls_context(request, settings["verify"], settings["proxies"])
        adapter.cert_verify(connections, request.url, settings["verify"], settings["cert"])
        return connections, adapter.request_url(request, settings["proxies"])

    def _timed_out(self) -> Transient:
        return Transient(Reason.TIMEOUT, f"no answer within {self._timeout_s:.0f} s")


def _refers_to_files(parts: Sequence[bytes]) -> bool:
    return any(part.startswith(b"file://") for part in parts)


def _read(status: int, headers: Mapping[str, str], data: bytes, server: Endpoint) -> Answer:
    if status in REFUSED_STATUS:
        raise Refused(status, _excerpt(data))
    if 300 <= status < 400:
        raise Refused(status, f"it has moved to {headers.get('Location')}")
    if status in TRANSIENT_STATUS or status >= 500:
        reason = Reason.TIMEOUT if status == 408 else Reason.SERVER_ERROR
        raise Transient(reason, f"HTTP {status}: {_excerpt(data)}", _retry_after_s(headers), overload=status == 429)
    if status != 200:
        raise ItemFailure(Reason.REQUEST_REJECTED, f"HTTP {status}: {_excerpt(data)}")
    try:
        value = json.loads(data)
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
        raise Transient(Reason.SERVER_ERROR, f"the answer is no chat completion: {_excerpt(data)}") from error


def _excerpt(data: bytes) -> str:
    """The server's own message, short; never the request, which holds the image."""
    try:
        message = json.loads(data)
        message = message.get("error", message)
        text = message.get("message", message) if isinstance(message, dict) else message
    except (ValueError, AttributeError):
        text = data.decode(errors="replace")
    return " ".join(str(text).split())[:300]


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for, given as seconds or as a date of the server's own clock."""
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        until = _timestamp(value)
        now = _timestamp(headers.get("Date", "")) or time.time()
        seconds = until - now if until is not None else 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
