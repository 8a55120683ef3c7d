"""The part of the checked configuration that says how a chunk's client job asks the server; see `config/config.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

Auto = Literal["auto"]


@dataclass(frozen=True)
class ImagesConfig:
    """`client.images`: which image files are read, and in which size they are sent."""

    #: A number, None for no limit, `auto` or `fits` for what fits, or the name of a preset (`pixel_presets.py`).
    max_pixels: int | str | None
    pixel_grid_px: int
    max_source_pixels: int
    frame: int | Auto
    colour: Literal["srgb", "as_is"]
    damaged: Literal["fail", "send"]
    memory_mb: int | Auto
    allowed_roots: Sequence[str]


@dataclass(frozen=True)
class ClientConfig:
    """`client`: how a chunk's client job asks the server."""

    concurrency: int | Auto
    request_timeout_s: float
    max_attempts: int
    backoff_s: float
    server_wait_s: float
    deduplicate: bool
    share_images: bool
    #: Of questions: how many likely tokens the server gives in each place, beside the one that it took; None for none.
    logprobs: int | None
    max_failed_fraction: float
    count_data_faults: bool
    image_transport: Literal["bytes", "file"]
    image_uuid: Literal["auto", "off", False]
    images: ImagesConfig
    #: Sent with each request as it is; a parameter that is None is left to the server.
    sampling: Mapping[str, float | None]

    @classmethod
    def of(cls, checked: Mapping[str, Any]) -> Self:
        return cls(**{**checked, "images": ImagesConfig(**checked["images"])})
