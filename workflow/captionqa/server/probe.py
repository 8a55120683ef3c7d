"""Checks of a server from outside: its health, its identity, its model and its load."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import HTTPError

from captionqa.errors import ForeignServerError, ServerError, UnreachableError, WrongModelError
from captionqa.server.proved_connection import ForeignProofError, NoProofError, ProvedConnectionPool
from captionqa.shown_text import printable

TIMEOUT_S = 10.0
#: The first generation compiles and allocates, which can take minutes for a large model.
FIRST_ANSWER_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class EngineLoad:
    """vLLM's load at one moment, from its metrics."""

    #: Requests that run or wait.
    requests: float
    #: Tokens read and generated since vLLM started.
    tokens: float
    #: Those of the requests that wait.
    waiting: float = 0.0
    #: Used share of the KV cache, from 0 to 1.
    cache_used: float = 0.0
    #: Requests that vLLM stopped to free KV cache, since it started.
    preemptions: float = 0.0
    #: Requests that vLLM answered since it started; 0 where it does not tell.
    finished: float = 0.0


class Probe:
    """Sends requests to one server.

    All methods but `version` and `load` raise ServerError where the server does not answer as it should, and that is
    ForeignServerError where an `own` server does not prove that it has its key.
    """

    def __init__(self, url: str, key: str | None, own: bool = False):
        """`url` is the base without /v1.

        `own` is for a server that captionqa started: it has to prove itself on each connection before the key is sent
        there. The environment's proxies lead to other servers alone.
        """
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = not own
        self._own_key = key if own else None
        if own:
            assert key is not None
            self._session.mount("http://", _ProvedAdapter(url, key))
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def check_ready(self, model: str) -> None:
        """Check that a server that was just started is ours, is healthy and generates with the model."""
        self.check_identity()
        self.check_health()
        self.check_model(model)
        self.check_generation(model)

    def check_identity(self) -> None:
        """Check on a new connection, without sending the key, that the server holds the key it was started with.

        Raises:
            ForeignServerError: another server answers.
        """
        assert self._own_key is not None
        pool = ProvedConnectionPool(self._url, self._own_key, proof_timeout_s=TIMEOUT_S)
        connection = pool.ConnectionCls(pool.host, pool.port, timeout=TIMEOUT_S, **pool.conn_kw)
        try:
            connection.connect()
        except HTTPError as error:
            raise self._unproved(error) from error
        finally:
            connection.close()

    def check_health(self) -> None:
        self._get("/health")

    def check_model(self, model: str) -> None:
        """Check that the server lists the model by this name.

        Raises:
            WrongModelError: it lists other names.
        """
        listed = [entry["id"] for entry in self._models()]
        if model not in listed:
            raise WrongModelError(
                f"{self._url} serves {', '.join(map(repr, listed))}, not {model!r}; set served_model_name to match."
            )

    def check_generation(self, model: str) -> None:
        """Check that the server answers a chat message with one token."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        response = self._request("POST", "/v1/chat/completions", FIRST_ANSWER_TIMEOUT_S, body)
        if "choices" not in response.text:
            raise ServerError(f"{self._url} answered a chat message with {response.text[:200]!r}")

    def model_root(self, model: str) -> str | None:
        """The folder or hub id from which the server says that it loaded the model of this name."""
        return next((entry.get("root") for entry in self._models() if entry["id"] == model), None)

    def version(self) -> str | None:
        """vLLM's version; None where the server does not tell it."""
        try:
            return str(self._get("/version").json()["version"])
        except (ServerError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def load(self) -> EngineLoad | None:
        """The server's load; None where it does not publish vLLM's metrics."""
        try:
            return engine_load(self._get("/metrics").text)
        except ServerError:
            return None

    def _models(self) -> list[dict[str, Any]]:
        try:
            return [{**entry, "id": entry["id"]} for entry in self._get("/v1/models").json()["data"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ServerError(
                f"{self._url}/v1/models is not a list of models; is an OpenAI-compatible server there?"
            ) from error

    def _get(self, path: str) -> requests.Response:
        return self._request("GET", path, TIMEOUT_S)

    def _request(
        self, method: str, path: str, timeout_s: float, body: Mapping[str, Any] | None = None
    ) -> requests.Response:
        try:
            response = self._session.request(method, self._url + path, timeout=timeout_s, json=body)
        except NoProofError as error:
            raise self._unproved(error) from error
        except requests.RequestException as error:
            raise UnreachableError(f"{self._url}{path} cannot be reached: {type(error).__name__}") from error
        if response.status_code in (401, 403):
            raise ServerError(f"{self._url}{path} refused the API key (HTTP {response.status_code}); see api_key_env.")
        if not response.ok:
            excerpt = printable(response.text[:200])
            raise ServerError(f"{self._url}{path} answered HTTP {response.status_code}: {excerpt}")
        return response

    def _unproved(self, error: HTTPError) -> ServerError:
        if isinstance(error, ForeignProofError):
            return ForeignServerError(
                f"what answers at {self._url} is not the server that was started there (it does not have its key)"
            )
        return ServerError(f"{self._url} cannot be reached: {type(error).__name__}")


class _ProvedAdapter(HTTPAdapter):
    """Lets requests send over connections that have proved themselves, and over no others."""

    def __init__(self, url: str, key: str):
        super().__init__()
        self._connections = ProvedConnectionPool(url, key, proof_timeout_s=TIMEOUT_S)

    def get_connection_with_tls_context(self, *_: object, **__: object) -> HTTPConnectionPool:
        return self._connections


def engine_load(text: str) -> EngineLoad | None:
    """The load that a /metrics page shows; None where it has not vLLM's metrics."""
    running = _metric(text, "vllm:num_requests_running")
    generated = _metric(text, "vllm:generation_tokens_total")
    if running is None or generated is None:
        return None
    waiting = _metric(text, "vllm:num_requests_waiting") or 0.0
    return EngineLoad(
        requests=running + waiting,
        tokens=generated + (_metric(text, "vllm:prompt_tokens_total") or 0.0),
        waiting=waiting,
        cache_used=_metric(text, "vllm:kv_cache_usage_perc", max) or 0.0,
        preemptions=_metric(text, "vllm:num_preemptions_total") or 0.0,
        finished=_metric(text, "vllm:request_success_total") or 0.0,
    )


def _metric(text: str, name: str, combine: Callable[[list[float]], float] = sum) -> float | None:
    """A metric in Prometheus' text format, its values for different labels combined; None where it is missing."""
    values = [
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))
    ]
    return combine(values) if values else None
