"""The client: one chat completion from whichever server is healthy, retried where that can help."""

import base64
import io
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

import tenacity

from captionqa.client.adaptive_concurrency import most
from captionqa.client.chat_completion import Answer, Broken, Connection, Refused, Transient, Unreachable
from captionqa.client.request_body import Body
from captionqa.client.server_pool import Pool
from captionqa.config.config import ClientConfig
from captionqa.config.prompts import chat_messages
from captionqa.errors import ItemFailure, Reason, RunStoppedError, ServerDeadError, ServerRefusedError
from captionqa.server.endpoint import Endpoint

MAX_BACKOFF_S = 60.0
EMPTY_OUTPUT_TRIES = 2
CRASHES_OF_A_POISON_ITEM = 2
NOTICE_END_S, NOTICE_END_TRIES = 0.5, 6
#: A network file system may show an old key or endpoint for so long.
NEWS_DELAY_S = 60.0
TRIAL_TEXT = "Name the color of this image."


class _Crashed(Exception):
    """A server crashed while the request was under way."""

    def __init__(self, server: Endpoint):
        self.server = server


class Client:
    """Asks for chat completions; safe to share between threads."""

    def __init__(
        self,
        pool: Pool,
        settings: ClientConfig,
        read_key: Callable[[], str | None],
        sampling: Mapping[str, Any],
        trust_env: bool = False,
    ):
        """`settings` is the `client` part of the configuration; `read_key` gives the server's key as it is now.

        `trust_env` obeys the environment's proxies, which are on the way to an outside server, not to a compute node.
        """
        self._pool = pool
        self._connection = Connection(most(settings.concurrency), settings.request_timeout_s, trust_env)
        self._max_attempts = settings.max_attempts
        self._patience_s = settings.server_wait_s
        # what was under way at a crash is asked one at a time, so that the guilty item takes few others with it
        self._one_suspect = threading.Lock()
        self._sampling = {name: value for name, value in sampling.items() if value is not None}
        self._read_key = read_key
        self._key = read_key()
        self._wait = tenacity.wait_exponential_jitter(
            multiplier=settings.backoff_s, max=MAX_BACKOFF_S, jitter=settings.backoff_s
        )

    def ask(
        self,
        messages: Sequence[dict[str, Any]],
        max_tokens: int,
        choice: Sequence[str] = (),
        crashes: int = 0,
        on_crash: Callable[[Endpoint], None] = lambda server: None,
    ) -> Answer:
        """The model's answer to a conversation; with `choice` it is one of these (vLLM's structured outputs).

        `crashes` is at how many crashes of a server this very request was under way before; `on_crash` is told of each
        further one.

        Raises:
            ItemFailure: request_rejected, server_error, timeout or empty_output, once retrying has not helped.
            ServerDeadError, ServerRefusedError, RunStoppedError: nothing will be answered any more.
        """
        fields = {"messages": messages, "max_tokens": max_tokens, **self._sampling}
        if choice:
            fields["structured_outputs"] = {"choice": list(choice)}
        body = Body.of(fields)
        empty = 0
        broke_on: Endpoint | None = None
        first_failure = float("inf")
        patience_ends = time.monotonic() + self._patience_s

        def attempt() -> Answer:
            nonlocal crashes, empty, broke_on, first_failure
            while True:
                if crashes >= CRASHES_OF_A_POISON_ITEM:
                    raise ItemFailure(Reason.SERVER_ERROR, f"the server crashed {crashes} times while it was asked")
                try:
                    with self._one_suspect if crashes else nullcontext():
                        answer = self._attempt(body, broke_on, patience_ends)
                    break
                except _Crashed as error:
                    crashes, broke_on = crashes + 1, None
                    on_crash(error.server)
                except Transient as error:
                    broke_on = error.server if isinstance(error, Broken) else None
                    first_failure = min(first_failure, time.monotonic())
                    raise
            if not answer.text.strip():
                empty += 1
                if empty >= EMPTY_OUTPUT_TRIES:
                    raise ItemFailure(
                        Reason.EMPTY_OUTPUT, f"no text came back, {empty} times (finish_reason {answer.finish_reason})"
                    )
                raise Transient(Reason.EMPTY_OUTPUT, "no text came back")
            return answer

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            stop=tenacity.stop_after_attempt(self._max_attempts),
            wait=self._wait,
            sleep=self._pool.pause,
            reraise=True,
        )
        while True:
            try:
                return retrying(attempt)
            except Transient as error:
                blamed = error.reason is Reason.EMPTY_OUTPUT or self._pool.is_well(
                    error.server, first_failure, error, self._trial
                )
                if blamed:
                    raise ItemFailure(error.reason, f"{error} ({self._max_attempts} attempts)") from error
                first_failure = float("inf")  # an outage: the item has all its attempts again

    def rejection(self) -> str | None:
        """Why the server rejects even a plain image and a few words; None where it does not."""
        server = self._pool.acquire(self._trial)
        try:
            self._connection.complete(server, self._key, self._trial_body())
        except ItemFailure as error:
            return error.detail
        except (Transient, Unreachable, Refused):
            return None  # which the next item finds too, and knows what to do
        finally:
            self._pool.release(server, reached=True)
        return None

    def _attempt(self, body: Body, broke_on: Endpoint | None, patience_ends: float) -> Answer:
        """One request that reached a server; waiting for one does not count as an attempt.

        `broke_on` is the server on which the attempt before broke: that it crashed may become known only now. Until
        `patience_ends` being put off by a Retry-After does not count either: a crowd is no fault of the item.
        """
        while True:
            server = self._pool.acquire(self._trial)
            key = self._key
            reached = True
            try:
                if broke_on is not None and self._crashed(broke_on):
                    raise _Crashed(broke_on)
                answer = self._connection.complete(server, key, body)
                self._pool.answered(server)
                return answer
            except ItemFailure:
                self._pool.answered(server)
                raise
            except Unreachable:
                reached = False
            except Refused as error:
                self._await_news(server, key, error)
            except Transient as error:
                broken = isinstance(error, Broken)
                successor = self._await_successor(server) if broken else self._pool.successor(server)
                if broken and successor is not None and successor.crashes > server.crashes:
                    raise _Crashed(server) from error
                if successor is None:
                    self._pool.failed(server, error)
                    if error.retry_after_s and time.monotonic() < patience_ends:
                        continue
                    error.server = server
                    raise
            finally:
                self._pool.release(server, reached)

    def _await_successor(self, server: Endpoint) -> Endpoint | None:
        """What follows a server whose connection broke, if anything does; its supervisor takes a moment to say so."""
        for _ in range(NOTICE_END_TRIES):
            if successor := self._pool.successor(server):
                return successor
            try:
                self._pool.pause(NOTICE_END_S)
            except (ServerDeadError, RunStoppedError):  # who asked has first to learn that it was under way at the end
                break
        return self._pool.successor(server)

    def _crashed(self, server: Endpoint) -> bool:
        successor = self._pool.successor(server)
        return successor is not None and successor.crashes > server.crashes

    def _await_news(self, server: Endpoint, key: str | None, error: Refused) -> None:
        """Wait for another key or server than those that were refused; raise ServerRefusedError where none comes."""
        deadline = time.monotonic() + NEWS_DELAY_S
        while (known := self._read_key()) == key and self._pool.successor(server) is None:
            if time.monotonic() >= deadline:
                what = {401: "the key", 404: f"the model {server.model!r}"}.get(error.status, "this address")
                raise ServerRefusedError(
                    f"the server {server.url} refuses {what} ({error}), which is no fault of the items; what is "
                    "answered is kept. A server of this workflow is set right by the next run; for one of your own see "
                    "url, api_key_env and served_model_name in the configuration."
                )
            self._pool.pause(NOTICE_END_S)
        self._key = known

    def _trial(self, server: Endpoint) -> Transient | None:
        """What is wrong with a server, as far as a plain image and a few words tell; None where it answers, even with
        a rejection."""
        try:
            self._connection.complete(server, self._key, self._trial_body())
        except Transient as error:
            return error
        except Unreachable:
            return Transient(Reason.SERVER_ERROR, "it cannot be reached")
        except (ItemFailure, Refused):
            return None
        return None

    def _trial_body(self) -> Body:
        return Body.of({"messages": _trial_messages(), "max_tokens": 1, **self._sampling})


@cache
def _trial_messages() -> list[dict[str, Any]]:
    from PIL import Image  # takes 0.1 s to import, and most runs need no trial

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(buffer, "PNG")
    return chat_messages(TRIAL_TEXT, [f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"])
