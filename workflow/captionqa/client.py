"""The client: one chat completion from whichever server is healthy, retried where that can help."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import requests
import tenacity
from requests.adapters import HTTPAdapter

from captionqa.endpoint import Endpoint
from captionqa.errors import ItemFailure, Reason
from captionqa.pool import Pool

MAX_BACKOFF_S = 60.0
MAX_RETRY_AFTER_S = 600.0
CONNECT_TIMEOUT_S = 10.0
EMPTY_OUTPUT_TRIES = 2
CRASHES_OF_A_POISON_ITEM = 2
NOTICE_END_S, NOTICE_END_TRIES = 0.5, 6
NEVER_CONNECTED = ("NewConnectionError", "NameResolutionError")
NOT_FINISHED = ("abort", "error")
TRANSIENT_STATUS = frozenset({408, 429})


@dataclass(frozen=True)
class Answer:
    """The model's own words, why it stopped, the tokens read and written, and the server they came from."""

    text: str
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    server: dict[str, Any]


class _Transient(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, reason: Reason, detail: str, retry_after_s: float = 0.0):
        super().__init__(detail)
        self.reason = reason
        self.retry_after_s = retry_after_s


class _Broken(_Transient):
    """The connection broke while the server worked on the request: it may have crashed on it."""


class _Crashed(Exception):
    """The server crashed while the request was under way."""


class _Unreachable(Exception):
    """No connection was made: the request never reached a server, so the item is not to blame."""


class Client:
    """Asks for chat completions; safe to share between threads."""

    def __init__(
        self,
        pool: Pool,
        settings: Mapping[str, Any],
        key: str | None,
        sampling: Mapping[str, Any],
        trust_env: bool = False,
    ):
        """`settings` is the `client` part of the configuration.

        `trust_env` obeys the environment's proxies, which are on the way to an outside server, not to a compute node.
        """
        self._pool = pool
        self._timeout_s = (CONNECT_TIMEOUT_S, settings["request_timeout_s"])
        self._max_attempts = settings["max_attempts"]
        # what was under way at a crash is asked one at a time, so that the guilty item takes few others with it
        self._one_suspect = threading.Lock()
        self._sampling = {name: value for name, value in sampling.items() if value is not None}
        self._session = requests.Session()
        self._session.trust_env = trust_env
        self._session.mount("http://", HTTPAdapter(pool_maxsize=settings["concurrency"]))
        self._session.mount("https://", HTTPAdapter(pool_maxsize=settings["concurrency"]))
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"
        self._wait = tenacity.wait_exponential_jitter(
            multiplier=settings["backoff_s"], max=MAX_BACKOFF_S, jitter=settings["backoff_s"]
        )

    def ask(self, messages: Sequence[dict[str, Any]], max_tokens: int, choice: Sequence[str] = ()) -> Answer:
        """The model's answer to a conversation; with `choice` it is one of these (vLLM's structured outputs).

        Raises:
            ItemFailure: request_rejected, server_error, timeout or empty_output, once retrying has not helped.
            ServerDeadError, RunStoppedError: nothing will be answered any more.
        """
        body = {"messages": messages, "max_tokens": max_tokens, **self._sampling}
        if choice:
            body["structured_outputs"] = {"choice": list(choice)}
        empty = crashes = 0

        def attempt() -> Answer:
            nonlocal empty, crashes
            try:
                with self._one_suspect if crashes else nullcontext():
                    answer = self._attempt(body)
            except _Crashed as error:
                crashes += 1
                if crashes >= CRASHES_OF_A_POISON_ITEM:
                    raise ItemFailure(
                        Reason.SERVER_ERROR, f"the server crashed {crashes} times while it was asked"
                    ) from error
                return attempt()
            if not answer.text.strip():
                empty += 1
                if empty >= EMPTY_OUTPUT_TRIES:
                    raise ItemFailure(
                        Reason.EMPTY_OUTPUT, f"no text came back, {empty} times (finish_reason {answer.finish_reason})"
                    )
                raise _Transient(Reason.EMPTY_OUTPUT, "no text came back")
            return answer

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Transient),
            stop=tenacity.stop_after_attempt(self._max_attempts),
            wait=self._wait_for,
            sleep=self._pool.pause,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except _Transient as error:
            raise ItemFailure(error.reason, f"{error} ({self._max_attempts} attempts)") from error

    def _wait_for(self, state: tenacity.RetryCallState) -> float:
        return max(self._wait(state), state.outcome.exception().retry_after_s)

    def _attempt(self, body: dict[str, Any]) -> Answer:
        """One request that reached a server; waiting for one does not count as an attempt."""
        while True:
            server = self._pool.acquire()
            reached = True
            try:
                return self._post(server, body)
            except _Unreachable:
                reached = False
            except _Broken as error:
                successor = self._await_successor(server)
                if successor is None:
                    raise
                if successor.crashes > server.crashes:
                    raise _Crashed from error
            except _Transient:
                if self._pool.successor(server) is None:
                    raise
            finally:
                self._pool.release(server, reached)

    def _await_successor(self, server: Endpoint) -> Endpoint | None:
        """What follows a server whose connection broke, if anything does; its supervisor takes a moment to say so."""
        for _ in range(NOTICE_END_TRIES):
            if successor := self._pool.successor(server):
                return successor
            self._pool.pause(NOTICE_END_S)
        return None

    def _post(self, server: Endpoint, body: dict[str, Any]) -> Answer:
        try:
            response = self._session.post(
                f"{server.url}/v1/chat/completions", json={"model": server.model, **body}, timeout=self._timeout_s
            )
        except (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError) as error:
            raise _Unreachable from error
        except requests.exceptions.Timeout as error:
            raise _Transient(Reason.TIMEOUT, f"no answer within {self._timeout_s[1]:.0f} s") from error
        except requests.exceptions.ConnectionError as error:
            if any(sign in repr(error) for sign in NEVER_CONNECTED):
                raise _Unreachable from error
            raise _Broken(Reason.SERVER_ERROR, "the connection broke before the answer was whole") from error
        except requests.exceptions.RequestException as error:
            raise _Transient(Reason.SERVER_ERROR, f"the answer was cut: {type(error).__name__}") from error
        return _read(response, server)


def _read(response: requests.Response, server: Endpoint) -> Answer:
    status = response.status_code
    if status in TRANSIENT_STATUS or status >= 500:
        reason = Reason.TIMEOUT if status == 408 else Reason.SERVER_ERROR
        raise _Transient(reason, f"HTTP {status}: {_excerpt(response)}", _retry_after_s(response))
    if status != 200:
        raise ItemFailure(Reason.REQUEST_REJECTED, f"HTTP {status}: {_excerpt(response)}")
    try:
        value = json.loads(response.content)
        choice = value["choices"][0]
        text = choice["message"]["content"] or ""
        if choice.get("finish_reason") in NOT_FINISHED:
            raise _Transient(Reason.SERVER_ERROR, f"the server gave up half way ({choice['finish_reason']})")
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
        raise _Transient(Reason.SERVER_ERROR, f"the answer is no chat completion: {_excerpt(response)}") from error


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
    """Seconds that a Retry-After header asks for, given as seconds or as a date."""
    value = response.headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
