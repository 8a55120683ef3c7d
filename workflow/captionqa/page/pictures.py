"""The pictures of a page: which images get a thumbnail, within a number and a time."""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from math import inf
from pathlib import Path
from typing import Self

from captionqa.config.client_config import ImagesConfig
from captionqa.config.data_root import data_root
from captionqa.config.settings import ImageSettings, image_settings
from captionqa.page.thumbnails import PageImage, Thumbnails, without_thumbnail

#: The most thumbnails of a page.
MAX_THUMBNAILS = 20_000


class Pictures:
    """The images of all data sets of a page by their references."""

    def __init__(self, images: ImageSettings, allowed_roots: Sequence[str], folder: Path, time_s: float = inf):
        """`folder`, which is made, is for the thumbnails; after `time_s` seconds no more of them are begun.

        `allowed_roots` are folders outside of a data set that its images may be in.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._settings, self._folder = images, folder
        self._roots = [Path(root).resolve() for root in allowed_roots]
        self._deadline = time.monotonic() + time_s
        self._images: dict[str, dict[str, PageImage]] = {}

    @classmethod
    def configured(cls, images: ImagesConfig, folder: Path, time_s: float = inf) -> Self:
        """By `client.images`."""
        return cls(image_settings(images), images.allowed_roots, folder, time_s)

    def of(self, dataset: str, items: Sequence[tuple[list[str], bool]]) -> dict[str, PageImage]:
        """The images of items by their references; of each item, whether its images are to be shown."""
        known = self._images.setdefault(dataset, {})
        wanted = dict.fromkeys(text for texts, are_shown in items if are_shown for text in texts if text not in known)
        room = max(0, MAX_THUMBNAILS - sum(map(len, self._images.values())))
        thumbnails = Thumbnails(self._folder, data_root(dataset), self._roots, self._settings)
        for text, image in thumbnails.images(islice(wanted, room), self._deadline):
            known[text] = image
        for texts, are_shown in items:
            for text in texts:
                reason = f"only {MAX_THUMBNAILS:,} images have a thumbnail" if are_shown else None
                known.setdefault(text, without_thumbnail(text, reason))
        return known

    def all(self) -> Iterator[PageImage]:
        return (image for images in self._images.values() for image in images.values())
