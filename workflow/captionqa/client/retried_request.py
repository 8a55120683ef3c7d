"""One request on its way to an answer: what is retried, and what spends one of its attempts.

    outcome                                        | what follows                               | spends an attempt
    an answer with text                            | done                                       |
    timeout, 408, 429, 5xx, an unfinished or       | backoff, then it is sent again             | yes
      malformed answer, or a broken connection     |                                            |
    the same with a Retry-After, while the request | it is sent again, to this server not       | no
      is younger than `patience_s`                 | before that time                           |
    an empty answer                                | backoff, once more; then empty_output      | yes
    no connection, or one whose other end does not | it is sent to another server, or waits     | no
      prove that it is our server                  |                                            |
    the server was replaced meanwhile              | it is sent to the next one                 | no
    the server crashed meanwhile                   | it is sent again with no other suspect in  | no
                                                   | flight; after a second crash server_error  |
    a 4xx for images that were sent by their       | it is sent again at once, with the images  | no
      identities alone                             |                                            |
    the key or the model is refused, or the        | it waits for a new key or server           | no
      address redirects                            |                                            |
    any other 4xx, or a 500 for a file that the    | request_rejected                           |
      server cannot read                           |                                            |

When the attempts are spent, a trial shows whether the server still answers. If it does, the item is to blame. If it
does not, there is an outage: the request gets all its attempts again, and the server pool decides when to give up.

Retry-After headers are read in chat_completion.py. server_pool.py obeys them: it picks no server before its time.
"""

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import tenacity

from captionqa.client.answer import Answer
from captionqa.client.api_key import ApiKeys
from captionqa.client.chat_completion import CompletionClient
from captionqa.client.chat_request import Images
from captionqa.client.held_images import HeldImages
from captionqa.client.request_bodies import RequestBodies
from captionqa.client.request_errors import (
    AccessRefusedError,
    BrokenConnectionError,
    TransientError,
    UnreachableError,
)
from captionqa.client.server_pool import ServerPool
from captionqa.client.server_trial import ServerTrial
from captionqa.errors import ItemFailure, Reason, RunStoppedError, ServerDeadError, ServerRefusedError
from captionqa.server.endpoint import Endpoint
from captionqa.shown_text import printable

#: Empty answers to a request before it fails.
MAX_EMPTY_ANSWERS = 2
#: Crashes of a server during a request before the request is blamed for them.
MAX_CRASHES = 2
#: The interval between two checks of the endpoint file or the key, while one of them is expected to change.
CHECK_INTERVAL_S = 0.5
#: Checks of the endpoint file after a broken connection: a supervisor takes a moment to publish its server's end.
END_CHECKS = 6
#: After a refusal: how long to wait for a new key or endpoint, since a network file system may show old ones.
STALE_FILE_S = 60.0


class ServerCrashError(Exception):
    """A server crashed while the request was in flight."""

    def __init__(self, server: Endpoint):
        self.server = server


@dataclass(frozen=True)
class RetryTools:
    """What all requests of a client share; each part is safe to share between threads."""

    pool: ServerPool
    client: CompletionClient
    keys: ApiKeys
    trial: ServerTrial
    held: HeldImages
    #: Counts a request's attempts, and waits between them.
    attempts: tenacity.Retrying
    max_attempts: int
    #: Until a request is this old, a Retry-After spends no attempt.
    patience_s: float
    #: Held while a request that was in flight at a crash is sent again. Such suspects are sent one at a time, so that
    #: the one at fault takes few others with it.
    suspect_lock: threading.Lock


class RetriedRequest:
    """One request and what it has met so far; `answer` is called once, by the one thread that has it."""

    def __init__(self, tools: RetryTools, bodies: RequestBodies, crashes: int, on_crash: Callable[[Endpoint], None]):
        """`crashes` counts a server's crashes during this very request so far; `on_crash` gets each further one."""
        self._tools = tools
        self._bodies = bodies
        self._crashes = crashes
        self._on_crash = on_crash
        self._patience_ends = time.monotonic() + tools.patience_s
        self._empty_answers = 0
        #: The server of the last attempt that failed.
        self._failed_on: Endpoint | None = None
        #: That server, if it may have crashed then: its crash may become known only later.
        self._may_have_crashed: Endpoint | None = None
        #: Whether it goes with all its images, since it failed without them.
        self._is_whole = False
        #: When the first attempt since the last outage failed.
        self._failing_since = float("inf")

    def answer(self) -> Answer:
        """The model's answer.

        Raises:
            ItemFailure: request_rejected, server_error, timeout or empty_output, once retrying has not helped.
            ServerDeadError, ServerRefusedError, RunStoppedError: nothing will be answered any more.
        """
        while True:
            try:
                return self._tools.attempts(self._attempt)
            except TransientError as error:
                if self._is_to_blame(error):
                    detail = f"{error} ({self._tools.max_attempts} attempts)"
                    raise ItemFailure(error.reason, detail) from error
                self._failing_since = float("inf")

    def _is_to_blame(self, error: TransientError) -> bool:
        """Whether the request failed by itself, and not by an outage of the server."""
        server = self._failed_on
        if error.reason is Reason.EMPTY_OUTPUT or server is None:
            return True
        return self._tools.pool.confirm_health(server, self._failing_since, error, self._tools.trial.failure)

    def _attempt(self) -> Answer:
        """One attempt: the request is sent until it is answered, or fails in a way that spends the attempt."""
        answer = None
        while answer is None:
            answer = self._send_unless_crasher()
        if answer["text"].strip() or ("reasoning" in answer and answer["finish_reason"] == "length"):
            return answer
        self._empty_answers += 1
        if self._empty_answers >= MAX_EMPTY_ANSWERS:
            times, why = self._empty_answers, printable(str(answer["finish_reason"]))
            raise ItemFailure(Reason.EMPTY_OUTPUT, f"no text came back, {times} times (finish_reason {why})")
        raise TransientError(Reason.EMPTY_OUTPUT, "no text came back")

    def _send_unless_crasher(self) -> Answer | None:
        """As `_send`, while the request has not crashed too many servers; counts its crashes."""
        if self._crashes >= MAX_CRASHES:
            raise ItemFailure(Reason.SERVER_ERROR, f"the server crashed {self._crashes} times while it was asked")
        try:
            with self._tools.suspect_lock if self._crashes else nullcontext():
                return self._send()
        except ServerCrashError as error:
            self._crashes += 1
            self._may_have_crashed = None
            self._on_crash(error.server)
            return None

    def _send(self) -> Answer | None:
        """Send the request to one server; None where it has to be sent again and no attempt is spent.

        Raises TransientError where one is.
        """
        pool = self._tools.pool
        server = pool.acquire(self._tools.trial.failure)
        key = self._tools.keys.of(server)
        reached = True
        try:
            if self._may_have_crashed is not None and self._has_crashed(self._may_have_crashed):
                raise ServerCrashError(self._may_have_crashed)
            answer = self._complete(server, key)
            pool.record_answer(server)
            return answer
        except ItemFailure:
            pool.record_answer(server)
            raise
        except UnreachableError:
            reached = False
        except AccessRefusedError as error:
            self._await_new_access(server, key, error)
        except TransientError as error:
            self._handle_failure(server, error)
        finally:
            pool.release(server, reached)
        return None

    def _complete(self, server: Endpoint, key: str | None) -> Answer:
        """One answer; images that the server is known to hold are sent only if it turns out not to hold them.

        Raises as `CompletionClient.complete`, and ItemFailure where an image that it does not hold cannot be read.
        """
        held, uuids = self._tools.held, self._bodies.uuids
        if not self._is_whole and held.holds(server, uuids):
            self._is_whole = True
            try:
                answer = self._tools.client.complete(server, key, self._bodies.get(Images.NAMES_ALONE))
            except ItemFailure:  # whatever it says: if it is no miss, the whole request fails alike
                held.forget(server, uuids)
            else:
                held.add(server, uuids, answer["prompt_tokens"], alone=True)
                return answer
        named = Images.NAMED if held.takes_uuids(server) else Images.PLAIN
        answer = self._tools.client.complete(server, key, self._bodies.get(named))
        if self._bodies.is_unchanged():
            held.add(server, self._bodies.uuids, answer["prompt_tokens"], alone=False)
        return answer

    def _handle_failure(self, server: Endpoint, error: TransientError) -> None:
        """Raise the error where it spends an attempt, ServerCrashError where the server crashed; else return."""
        broken = isinstance(error, BrokenConnectionError)
        successor = self._await_successor(server) if broken else self._tools.pool.successor(server)
        if successor is not None:
            if error.may_be_crash and successor.crashes > server.crashes:
                raise ServerCrashError(server) from error
            return
        self._tools.pool.record_failure(server, error)
        if error.retry_after_s and time.monotonic() < self._patience_ends:
            return
        self._failed_on = server
        self._may_have_crashed = server if error.may_be_crash else None
        self._failing_since = min(self._failing_since, time.monotonic())
        raise error

    def _has_crashed(self, server: Endpoint) -> bool:
        successor = self._tools.pool.successor(server)
        return successor is not None and successor.crashes > server.crashes

    def _await_successor(self, server: Endpoint) -> Endpoint | None:
        """What a server whose connection broke has become; None if it stays as it was."""
        for _ in range(END_CHECKS):
            if successor := self._tools.pool.successor(server):
                return successor
            try:
                self._tools.pool.pause_request(CHECK_INTERVAL_S)
            except (ServerDeadError, RunStoppedError):  # the crash has to be counted before the run ends
                break
        return self._tools.pool.successor(server)

    def _await_new_access(self, server: Endpoint, refused_key: str | None, error: AccessRefusedError) -> None:
        """Wait until there is another key, or another server in this one's place.

        Raises ServerRefusedError where neither comes.
        """
        deadline = time.monotonic() + STALE_FILE_S
        while self._tools.keys.read(server) == refused_key and self._tools.pool.successor(server) is None:
            if time.monotonic() >= deadline:
                what = {401: "the key", 404: f"the model {server.model!r}"}.get(error.status, "this address")
                raise ServerRefusedError(
                    f"the server {server.url} refuses {what} ({error}), which is no fault of the items; what is "
                    "answered is kept. A server of this workflow is set right by the next run; for one of your own see "
                    "url, api_key_env and served_model_name in the configuration."
                )
            self._tools.pool.pause_request(CHECK_INTERVAL_S)
