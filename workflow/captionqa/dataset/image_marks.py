"""Numbered image marks of a question's text: image N goes to the place of its mark."""

import re
from collections.abc import Sequence

from captionqa.config.prompts import IMAGE_MARK

#: `<image 2>`, and the mark without a number.
_MARK = re.compile(r"<image(?:[ _]?(\d{1,3}))?>", re.IGNORECASE)
_NUMBERED = re.compile(r"<image[ _]?\d{1,3}>", re.IGNORECASE)


class MissingImageError(ValueError):
    """A mark names an image that the question does not have; the message is the end of a sentence."""


def in_order_of_marks(text: str, images: Sequence[str | None]) -> tuple[str, list[str]]:
    """The text with a plain mark where each numbered one stood first, and the images in the order of their marks.

    An image's number is its place in `images`, which counts empty places too. Images without a mark come first, so
    that they are put before the text. Further marks of an image stay in the text, as a name for it.

    Raises:
        MissingImageError: a mark's number is that of no image.
    """
    if not _NUMBERED.search(text):
        return text, [image for image in images if image is not None]
    named = {int(match[1]) for match in _MARK.finditer(text) if match[1]}
    unnamed = [image for number, image in enumerate(images, 1) if image is not None and number not in named]
    plain_marks = sum(not match[1] for match in _MARK.finditer(text))
    before = unnamed[: max(0, len(unnamed) - plain_marks)]
    rest = iter(unnamed[len(before) :])
    placed: list[str] = []
    seen: set[int] = set()

    def mark(match: re.Match[str]) -> str:
        if not match[1]:
            placed.extend(image for image in [next(rest, None)] if image is not None)
            return IMAGE_MARK
        number = int(match[1])
        image = images[number - 1] if 0 < number <= len(images) else None
        if image is None:
            raise MissingImageError(f"names {match[0]}, and the row has no such image")
        if number in seen:
            return match[0]
        seen.add(number)
        placed.append(image)
        return IMAGE_MARK

    return _MARK.sub(mark, text), [*before, *placed]
