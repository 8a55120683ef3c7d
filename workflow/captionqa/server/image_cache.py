"""The cache of images that a server of ours has, by its endpoint: whether an image that it holds may be named to it.

vLLM takes a `uuid` beside an image, keeps the preprocessed image under that name instead of a hash of the bytes, and
answers about it when a later request has the name alone. A name that it does not hold is an error (HTTP 400).
"""

import re

from captionqa.config.vllm_options import (
    API_SERVERS,
    API_SERVERS_GIVEN,
    API_SERVERS_GIVEN_SHORT,
    DEFAULT_IMAGE_CACHE_GB,
    IMAGE_CACHE_GB,
    is_given,
    option_value,
)
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
    argv = server.argv
    if not takes_uuids(server) or _has_several_api_servers(argv):
        return 0
    size_gb = option_value(argv, IMAGE_CACHE_GB)
    try:
        return int(GIB * (DEFAULT_IMAGE_CACHE_GB if size_gb is None else float(size_gb)))
    except ValueError:
        return 0


def _has_several_api_servers(argv: list[str]) -> bool:
    if API_SERVERS_GIVEN_SHORT.intersection(argv):
        return True
    return any(is_given(argv, name) for name in API_SERVERS_GIVEN) and option_value(argv, API_SERVERS) != "1"
