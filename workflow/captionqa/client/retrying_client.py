"""The client: one answer to each request, from whichever server is healthy, retried where that can help."""

import threading
from collections.abc import Callable, Mapping, Sequence

import tenacity

from captionqa.client.adaptive_concurrency import max_limit
from captionqa.client.answer import Answer
from captionqa.client.api_key import ApiKeys
from captionqa.client.chat_completion import CompletionClient
from captionqa.client.chat_request import ChatRequest
from captionqa.client.held_images import HeldImages
from captionqa.client.request_bodies import RequestBodies
from captionqa.client.request_errors import TransientError
from captionqa.client.retried_request import RetriedRequest, RetryTools
from captionqa.client.server_pool import ServerPool
from captionqa.client.server_trial import ServerTrial
from captionqa.config.client_config import ClientConfig
from captionqa.server.endpoint import Endpoint

#: The longest wait between two attempts.
MAX_BACKOFF_S = 60.0


class RetryingClient:
    """Asks for chat completions; safe to share between threads, since each request has a state of its own."""

    def __init__(
        self,
        pool: ServerPool,
        settings: ClientConfig,
        keys: ApiKeys,
        parameters: Mapping[str, float],
    ):
        """`settings` is the `client` part of the configuration; `parameters` are sent with each request.

        Only servers that captionqa started are sent identities of images.
        """
        client = CompletionClient(max_limit(settings.concurrency), settings.request_timeout_s, keys.own)
        self._parameters = parameters
        self._trial = ServerTrial(client, keys, parameters)
        self._pool = pool
        self._held = HeldImages(keys.own and settings.image_uuid == "auto", settings.images.pixel_grid_px)
        self._tools = RetryTools(
            pool=pool,
            client=client,
            keys=keys,
            trial=self._trial,
            held=self._held,
            attempts=tenacity.Retrying(
                retry=tenacity.retry_if_exception_type(TransientError),
                stop=tenacity.stop_after_attempt(settings.max_attempts),
                wait=tenacity.wait_exponential_jitter(
                    multiplier=settings.backoff_s, max=MAX_BACKOFF_S, jitter=settings.backoff_s
                ),
                sleep=pool.pause_request,
                reraise=True,
            ),
            max_attempts=settings.max_attempts,
            patience_s=settings.server_wait_s,
            suspect_lock=threading.Lock(),
        )

    def ask(
        self,
        request: ChatRequest,
        crashes: int = 0,
        on_crash: Callable[[Endpoint], None] = lambda server: None,
    ) -> Answer:
        """The model's answer to a request; parameters and errors are those of `RetriedRequest` and its `answer`."""
        return RetriedRequest(self._tools, RequestBodies(request, self._parameters), crashes, on_crash).answer()

    @property
    def names_images(self) -> bool:
        """Whether images may be sent by their identities."""
        return self._held.is_on

    def holders(self, uuids: Sequence[str]) -> tuple[int, int]:
        """(how many of the servers that are ready hold these images, how many there are)."""
        servers = self._pool.ready_servers()
        return sum(self._held.holds(server, uuids) for server in servers), len(servers)

    def room_for_images(self) -> int:
        """How many images may be on their way to servers until they are asked about again; 0 where none are held."""
        return sum(map(self._held.room, self._pool.ready_servers()))

    def rejection(self) -> str | None:
        """Why the server rejects even a plain image and a few words; None where it does not."""
        server = self._pool.acquire(self._trial.failure)
        try:
            return self._trial.rejection(server)
        finally:
            self._pool.release(server, reached=True)
