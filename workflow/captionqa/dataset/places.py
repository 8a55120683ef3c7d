"""Places: where in the hash range an item is, which decides its chunk and its journal segment."""

import hashlib
import json

from captionqa.dataset.item_entry import ItemEntry

HASH_BITS = 32


def place(name: str) -> int:
    """An image's place in the hash range [0, 2**32), which its name alone decides."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=HASH_BITS // 8).digest())


def question_place(images: list[str]) -> int:
    """A question's place; questions on the same images share it, so that they find the images in the server's cache."""
    return place(json.dumps(images))


def entry_place(entry: ItemEntry) -> int:
    """The place of an image or a question by its entry in an item list."""
    return question_place(entry["images"]) if "images" in entry else place(entry["id"])
