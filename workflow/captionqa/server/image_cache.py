"""The cache of images that a server of ours has, by its endpoint: whether an image that it holds may be named to it.

vLLM takes a `uuid` beside an image, keeps the preprocessed image under that name instead of a hash of the bytes, and
answers about it when a later request has the name alone. A name that it does not hold is an error (HTTP 400).
"""

import re
from collections.abc import Sequence

from captionqa.config.vllm_options import DEFAULT_IMAGE_CACHE_GB, IMAGE_CACHE_GB, api_server_count, option_value
from captionqa.server.endpoint import Endpoint

#: The first version in which a request may have the name alone (vLLM's pull request 23950).
FIRST_VERSION = (0, 11)
GIB = 1 << 30
_VERSION = re.compile(r"(\d+)\.(\d+)")


def takes_uuids(server: Endpoint) -> bool:
    """Whether its vLLM knows uuids; False where its version is not known."""
    version = _VERSION.match(server.versions.get("vllm", ""))
    return version is not None and (int(version[1]), int(version[2])) >= FIRST_VERSION


def image_cache_bytes(server: Endpoint) -> int:
    """The size of its image cache; 0 where no request can count on it.

    Each of several API servers has a cache of its own, and a request cannot choose among them.
    """
    if not takes_uuids(server) or api_server_count(server.argv) > 1:
        return 0
    return int(GIB * image_cache_gb(server.argv))


def image_cache_gb(argv: Sequence[str]) -> float:
    """The image cache of each API server in GiB, by the command line of vLLM; 0 where that gives no number.

    An existing server's is not known, and taken for vLLM's default.
    """
    try:
        return float(option_value(argv, IMAGE_CACHE_GB) or DEFAULT_IMAGE_CACHE_GB)
    except ValueError:
        return 0.0
