"""Places: where in the hash range an item is, which decides its chunk and its journal segment."""

import hashlib
import json

HASH_BITS = 32


def place(name: str) -> int:
    """An item's place in the hash range [0, 2**32), by its name alone."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=HASH_BITS // 8).digest())


def question_place(images: list[str]) -> int:
    """Questions on the same images share a place, so that they meet the same cache in the server."""
    return place(json.dumps(images))
