"""Looking at a server from outside: is it healthy, does it serve the model, do its tokens advance."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
import urllib3

from captionqa.errors import ForeignServerError, ServerError, WrongModelError
from captionqa.server import key_guard

TIMEOUT_S = 10.0
#: The first generation compiles and allocates; a large model can take minutes for it.
FIRST_ANSWER_TIMEOUT_S = 300.0
PROOF_BYTES = 64


@dataclass(frozen=True)
class Load:
    """Requests running or waiting, and all tokens that the server has read and written so far.

    `waiting` is how many of the requests wait for their turn, `cache_used` the share of the KV cache that is taken, and
    `preemptions` how often a running request had to make room in it so far.
    """

    requests: float
    tokens: float
    waiting: float = 0.0
    cache_used: float = 0.0
    preemptions: float = 0.0


class Probe:
    """Asks one server; `url` is the base without /v1. Every method raises ServerError where the server fails it.

    `trust_env` obeys the environment's proxies, which are on the way to an outside server, not to a compute node.
    """

    def __init__(self, url: str, key: str | None, trust_env: bool = False):
        self._url = url
        self._key = key
        self._session = requests.Session()
        self._session.trust_env = trust_env
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def all_is_well(self, model: str) -> None:
        """Check that the server just started is ours, healthy, and answers for the model."""
        self.is_own()
        self.health()
        self.serves(model)
        self.answers(model)

    def is_own(self) -> None:
        """Check that the server was started with the key; the key itself is not sent.

        Raises ForeignServerError where another answers.
        """
        challenge = secrets.token_hex(16)
        try:
            # on a connection of its own and without the key
            with requests.Session() as stranger:
                stranger.trust_env = False
                response = stranger.get(
                    f"{self._url}{key_guard.PROOF_PATH}?{challenge}", timeout=TIMEOUT_S, stream=True
                )
                said = response.raw.read(PROOF_BYTES)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise ServerError(f"{self._url} cannot be reached: {type(error).__name__}") from error
        if not secrets.compare_digest(said, key_guard.proof(self._key, challenge).encode()):
            raise ForeignServerError(
                f"what answers at {self._url} is not the server that was started there (it does not have the run's key)"
            )

    def health(self) -> None:
        self._get("/health")

    def serves(self, model: str) -> None:
        """Check that the server lists the model by this name."""
        listed = [entry["id"] for entry in self._models()]
        if model not in listed:
            raise WrongModelError(
                f"{self._url} serves {', '.join(map(repr, listed))}, not {model!r}; set served_model_name to match."
            )

    def root(self, model: str) -> str | None:
        """What the server says that it loaded the model of this name from: a folder or a hub id."""
        return next((entry.get("root") for entry in self._models() if entry["id"] == model), None)

    def answers(self, model: str) -> None:
        """Check that one token comes back for a chat message."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        response = self._request("POST", "/v1/chat/completions", FIRST_ANSWER_TIMEOUT_S, json=body)
        if "choices" not in response.text:
            raise ServerError(f"{self._url} answered a chat message with {response.text[:200]!r}")

    def version(self) -> str | None:
        try:
            return str(self._get("/version").json()["version"])
        except (ServerError, ValueError, KeyError):
            return None

    def load(self) -> Load | None:
        """The server's load, or None where it publishes no metrics of vLLM's."""
        try:
            text = self._get("/metrics").text
        except ServerError:
            return None
        running = _metric(text, "vllm:num_requests_running")
        written = _metric(text, "vllm:generation_tokens_total")
        if running is None or written is None:
            return None
        waiting = _metric(text, "vllm:num_requests_waiting") or 0.0
        return Load(
            running + waiting,
            written + (_metric(text, "vllm:prompt_tokens_total") or 0.0),
            waiting,
            _metric(text, "vllm:kv_cache_usage_perc", max) or 0.0,
            _metric(text, "vllm:num_preemptions_total") or 0.0,
        )

    def _models(self) -> list[dict[str, Any]]:
        try:
            return [{**entry, "id": entry["id"]} for entry in self._get("/v1/models").json()["data"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ServerError(
                f"{self._url}/v1/models is not a list of models; is an OpenAI-compatible server there?"
            ) from error

    def _get(self, path: str) -> requests.Response:
        return self._request("GET", path, TIMEOUT_S)

    def _request(self, method: str, path: str, timeout_s: float, **kwargs) -> requests.Response:
        try:
            response = self._session.request(method, self._url + path, timeout=timeout_s, **kwargs)
        except requests.RequestException as error:
            raise ServerError(f"{self._url}{path} cannot be reached: {type(error).__name__}") from error
        if response.status_code in (401, 403):
            raise ServerError(f"{self._url}{path} refused the API key (HTTP {response.status_code}); see api_key_env.")
        if not response.ok:
            raise ServerError(f"{self._url}{path} answered HTTP {response.status_code}: {response.text[:200]}")
        return response


def _metric(text: str, name: str, over: Callable[[list[float]], float] = sum) -> float | None:
    """The sum of a metric over its labels in Prometheus' text format, or what else is made of the values."""
    values = [
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))
    ]
    return over(values) if values else None
