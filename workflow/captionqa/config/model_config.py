"""`models` in the checked configuration: a model, and the server that answers for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self


@dataclass(frozen=True)
class ServerConfig:
    """`models.NAME.server`: how vLLM is started and watched."""

    command: Sequence[str] | None
    env: Mapping[str, str]
    host: str | None
    port: int
    replicas: int
    api_servers: int | Literal["auto"]
    #: False is what YAML makes of a plain off.
    tuning: Literal["auto", "off", False]
    tensor_parallel_size: int | None
    allow_cpu: bool
    max_model_len: int | None
    dtype: str
    limit_images_per_prompt: int
    extra_args: Sequence[str]
    start_timeout_s: float
    health_interval_s: float
    hang_timeout_s: float
    max_restarts: int
    restart_forgiven_s: float
    lease_timeout_s: float
    #: No key of the configuration: the folder that vLLM may read images from, where `client.image_transport` is `file`.
    allowed_local_media_path: str | None = None


@dataclass(frozen=True)
class ModelConfig:
    """`models.NAME`: a model, and the server that answers for it."""

    path: str
    url: str | None
    api_key_env: str | None
    served_model_name: str | None
    #: What this model has in place of values of `client.sampling`.
    sampling: Mapping[str, float | None]
    #: {prompt style: what this model is sent in place of its text}.
    prompts: Mapping[str, str]
    #: What this model is sent in place of qa.instruction: nothing where it is empty; None for that one.
    instruction: str | None
    server: ServerConfig
    #: No key of the configuration: which version of the model, as `config.model_versions` keys them, the run is about.
    version_key: str | None = None

    @classmethod
    def of(cls, checked: Mapping[str, Any], version_key: str | None) -> Self:
        return cls(**{**checked, "server": ServerConfig(**checked["server"]), "version_key": version_key})

    @property
    def served_name(self) -> str:
        """The name that the server answers to."""
        return self.served_model_name or self.path


def base_url(url: str) -> str:
    """The address of a server without /v1."""
    return url.rstrip("/").removesuffix("/v1")
