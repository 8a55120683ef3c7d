"""The image cache of a simulated API server: it drops the image that was used least recently, as vLLM's does."""

import hashlib
import re
from collections import OrderedDict

_URL = re.compile(rb'"url":\s*"([^"]*)"')


def images_of(body: bytes | bytearray) -> list[bytes]:
    """The digests of the URLs of a request's images."""
    return [hashlib.blake2b(url, digest_size=16).digest() for url in _URL.findall(body)]


class ImageCache:
    """Keeps the last `size` images, by their digests."""

    def __init__(self, size: int):
        self._size = size
        self._images: OrderedDict[bytes, None] = OrderedDict()

    def use(self, image: bytes) -> bool:
        """Use an image, and keep it; whether it was there already."""
        hit = image in self._images
        self._images[image] = None
        self._images.move_to_end(image)
        if len(self._images) > self._size:
            self._images.popitem(last=False)
        return hit
