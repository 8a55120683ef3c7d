"""One chat completion over HTTP: an answer, or the kind of failure. Nothing is retried here."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import cast

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ProxyError, TimeoutError

from captionqa.client.answer import Answer
from captionqa.client.request_body import Body
from captionqa.client.request_deadline import set_deadline
from captionqa.client.request_errors import (
    AccessRefusedError,
    BrokenConnectionError,
    InternalServerError,
    TransientError,
    UnreachableError,
)
from captionqa.client.token_logprobs import token_logprobs
from captionqa.errors import ItemFailure, Reason
from captionqa.server.endpoint import Endpoint
from captionqa.server.proved_connection import PROOF_TIMEOUT_S, NoProofError, ProvedConnectionPool
from captionqa.shown_text import printable

#: A longer Retry-After is cut to this.
MAX_RETRY_AFTER_S = 600.0
CONNECT_TIMEOUT_S = 10.0
#: A longer answer is not read to its end: more than a million tokens of text fit in.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
#: Server addresses whose connections are kept; a restarted server may have a new address.
KEPT_ADDRESSES = 64
#: Values of finish_reason that say that the server gave up in the middle of its answer.
UNFINISHED = ("abort", "error")
PATH = "/v1/chat/completions"
#: Client errors (4xx) that may pass: request timeout, too many requests.
TRANSIENT_STATUS = frozenset({408, 429})
#: The key or the model is refused, whatever is asked.
REFUSED_STATUS = frozenset({401, 404})
#: vLLM's message, with status 500, for a referenced file that it cannot read; another attempt would fail alike.
UNREADABLE_FILE = re.compile(r"allowed-local-media-path|\[Errno (?:2|5|13|20|21|36|40|116)\]")
#: Characters of a server's message that are kept in a failure's detail.
EXCERPT_CHARACTERS = 300
#: A longer reply is quoted as it is, since no server's message is as long.
MAX_MESSAGE_BYTES = 64 * 1024
#: A greater count of tokens is none: no model's context is as long.
MAX_TOKEN_COUNT = 2**31


class CompletionClient:
    """Sends chat completions over kept connections; safe to share between threads.

    Threads share nothing but the connections and the cache of routes, both of which lock for themselves.
    """

    def __init__(self, concurrency: int, timeout_s: float, own: bool):
        """`concurrency` is how many connections to one server are kept.

        `own` is for servers that captionqa started: each proves itself on each connection before anything else is sent
        there. The environment's proxies lead to other servers alone.
        """
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, total=timeout_s)
        self._session = requests.Session()
        self._own = own
        self._route = lru_cache(KEPT_ADDRESSES)(self._find_route)

    def complete(self, server: Endpoint, key: str | None, body: Body) -> Answer:
        """Send one request to a server.

        Raises:
            RequestError: one of its subclasses, none of which blames the item. UnreachableError also where an own
                server has no key yet or does not prove that it has it.
            ItemFailure: request_rejected.
        """
        if self._own and not key:
            raise UnreachableError
        parts = body.with_model(server.model)
        headers = {"Content-Type": "application/json", "Content-Length": str(sum(map(len, parts)))}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        try:
            connections, path = self._route(server.url, key if self._own else None)
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
        except (ConnectTimeoutError, ProxyError, NoProofError) as error:
            raise UnreachableError from error
        except TimeoutError as error:
            raise self._timed_out() from error
        except HTTPError as error:
            raise BrokenConnectionError(
                Reason.SERVER_ERROR, "the connection broke before the answer was whole"
            ) from error
        except requests.RequestException as error:
            raise TransientError(Reason.SERVER_ERROR, f"it cannot be asked: {error}") from error
        try:
            data = response.read(MAX_ANSWER_BYTES + 1, decode_content="Content-Encoding" in response.headers)
        except TimeoutError as error:
            raise self._timed_out() from error
        except HTTPError as error:
            raise TransientError(Reason.SERVER_ERROR, f"the answer was cut: {type(error).__name__}") from error
        if len(data) > MAX_ANSWER_BYTES:
            response.close()
            raise TransientError(Reason.SERVER_ERROR, f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MB")
        if response.status == 500 and UNREADABLE_FILE.search(excerpt := _excerpt(data)) and _refers_to_files(parts):
            raise ItemFailure(Reason.REQUEST_REJECTED, f"HTTP 500: {excerpt}")
        return _parse_response(response.status, response.headers, data, server)

    def _find_route(self, url: str | None, own_key: str | None) -> tuple[urllib3.HTTPConnectionPool, str]:
        """The connections to a server and the path of its completions; `own_key` is the key that it has to prove.

        requests picks the proxy and the certificates here, once for each server. The requests themselves go past it:
        it would take more CPU than all else that is done for a request except its image.
        """
        if own_key is not None:
            assert url is not None
            proved = ProvedConnectionPool(url, own_key, self._concurrency, min(PROOF_TIMEOUT_S, self._timeout_s))
            set_deadline(proved, self._timeout_s)
            return proved, PATH
        request = requests.Request("POST", f"{url}{PATH}").prepare()
        settings = self._session.merge_environment_settings(request.url, {}, None, None, None)
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=self._concurrency)
        connections = adapter.get_connection_with_tls_context(request, settings["verify"], settings["proxies"])
        adapter.cert_verify(  # type: ignore[no-untyped-call]  # types-requests does not annotate it
            connections, request.url, settings["verify"], settings["cert"]
        )
        # types-requests promises only the base class, which cannot send
        connections = cast(urllib3.HTTPConnectionPool, connections)
        set_deadline(connections, self._timeout_s)
        return connections, adapter.request_url(request, settings["proxies"])

    def _timed_out(self) -> TransientError:
        return TransientError(Reason.TIMEOUT, f"no answer within {self._timeout_s:.0f} s")


def _refers_to_files(parts: Sequence[bytes]) -> bool:
    return any(part.startswith(b"file://") for part in parts)


def _parse_response(status: int, headers: Mapping[str, str], data: bytes, server: Endpoint) -> Answer:
    """The answer in a response; raises what `complete` raises where there is none."""
    if status in REFUSED_STATUS:
        raise AccessRefusedError(status, _excerpt(data))
    if 300 <= status < 400:
        raise AccessRefusedError(status, f"it has moved to {printable(str(headers.get('Location')))}")
    if status in TRANSIENT_STATUS or status >= 500:
        reason = Reason.TIMEOUT if status == 408 else Reason.SERVER_ERROR
        detail = f"HTTP {status}: {_excerpt(data)}"
        if status == 500:
            raise InternalServerError(reason, detail, _retry_after_s(headers))
        raise TransientError(reason, detail, _retry_after_s(headers), is_overload=status == 429)
    if status != 200:
        raise ItemFailure(Reason.REQUEST_REJECTED, f"HTTP {status}: {_excerpt(data)}")
    try:
        value = json.loads(data)
        choice = value["choices"][0]
        text = choice["message"]["content"] or ""
        if choice.get("finish_reason") in UNFINISHED:
            raise TransientError(Reason.SERVER_ERROR, f"the server gave up half way ({choice['finish_reason']})")
        usage = value.get("usage") or {}
        finish_reason = choice.get("finish_reason")
        if not isinstance(text, str) or not isinstance(finish_reason, str | None):
            raise TypeError("content or finish_reason is no text")
        answer: Answer = {
            "text": text,
            "finish_reason": finish_reason,
            "prompt_tokens": _token_count(usage.get("prompt_tokens")),
            "completion_tokens": _token_count(usage.get("completion_tokens")),
            "server": {"url": server.url, "generation": server.generation, **server.versions},
        }
        # vLLM calls it reasoning, versions before 0.12 and other servers reasoning_content
        reasoning = choice["message"].get("reasoning") or choice["message"].get("reasoning_content")
        if isinstance(reasoning, str):
            answer["reasoning"] = reasoning
        if (tokens := token_logprobs(choice.get("logprobs"))) is not None:
            answer["logprobs"] = tokens
        return answer
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise TransientError(Reason.SERVER_ERROR, f"the answer is no chat completion: {_excerpt(data)}") from error


def _token_count(value: object) -> int:
    """A count of tokens as the server gave it; 0 where that is no count, since the answer is no worse for it."""
    return int(value) if isinstance(value, int | float) and 0 <= value <= MAX_TOKEN_COUNT else 0


def _excerpt(data: bytes) -> str:
    """The server's own message, cut short. It never holds the request, and so no image."""
    if len(data) > MAX_MESSAGE_BYTES:
        return " ".join(data[:EXCERPT_CHARACTERS].decode(errors="replace").split())
    try:
        message = json.loads(data)
        message = message.get("error", message)
        text = message.get("message", message) if isinstance(message, dict) else message
    except (ValueError, AttributeError, RecursionError):
        text = data.decode(errors="replace")
    return " ".join(str(text).split())[:EXCERPT_CHARACTERS]


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for, which may be a number or a date by the server's own clock."""
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
