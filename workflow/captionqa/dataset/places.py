"""Places: where in the hash range an item is, which decides its chunk and its journal segment."""

import hashlib
import json

from captionqa.dataset.image_ref import CellRef, ImageRef
from captionqa.dataset.item_entry import ItemEntry

HASH_BITS = 32
#: The hash range is cut into 2 ** SEGMENT_BITS segments of the journal. A chunk's items of one segment come together.
SEGMENT_BITS = 10
#: The most rows of a parquet file that share a place, and so a chunk. A cell can only be had by decoding its row group
#: up to it, so chunks that took their rows from all row groups would each decode the whole data set.
BLOCK_ROWS = 512


def place(name: str) -> int:
    """An image's place in the hash range [0, 2**32), which its name alone decides."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=HASH_BITS // 8).digest())


def question_place(images: list[str], qid: str, by_image: bool = False) -> int:
    """A question's place; questions on the same images share it, so that they find the images in the server's cache.

    So do questions on cells of the same rows of a parquet file. Without images the qid decides. With `by_image` a
    question on one image has the place of that image, so that it comes near the image's captions.
    """
    block = _block(images)
    if by_image and block is None and len(images) == 1:
        return place(images[0])
    return place(json.dumps(images or ["", qid])) if block is None else place(block)


def entry_place(entry: ItemEntry) -> int:
    """The place of an image or a question by its entry in an item list."""
    images = entry.get("images", [])
    if "question" in entry:
        return question_place(images, entry["id"], entry.get("by_image", False))
    block = _block(images)
    return place(entry["id"]) if block is None else place(block)


def _block(images: list[str]) -> str | None:
    """What the images share with those of the rows around theirs, if they are cells of a parquet file."""
    if not images or "#group=" not in images[0]:
        return None
    ref = ImageRef.parse(images[0])
    if not isinstance(ref, CellRef) or not ref.is_decoded_in_order:
        return None
    return f"{ref.container}#group={ref.group}&block={ref.row // BLOCK_ROWS}"
