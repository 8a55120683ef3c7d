"""The body of a request: JSON as bytes, with the images spliced in, built once and sent as often as it takes."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Stands for an image while the rest becomes JSON; no text that is asked can know it.
_PLACE = secrets.token_hex(16)


@dataclass(frozen=True)
class Body:
    """All of a request but the model's name, as UTF-8, in parts: an image is one of them and is copied no more."""

    parts: tuple[bytes, ...]

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Body":
        """The body with these fields, at least one; a value of type bytes is sent as a JSON string, and holds nothing
        that JSON would escape (a data URL does not)."""
        images: list[bytes] = []

        def keep(image: bytes) -> str:
            images.append(image)
            return _PLACE

        first, *others = json.dumps(fields, default=keep).removeprefix("{").encode().split(_PLACE.encode())
        parts = [first]
        for image, other in zip(images, others, strict=True):
            parts += [image, other]
        return cls(tuple(parts))

    def with_model(self, model: str) -> list[bytes]:
        """The whole body for a server that knows the model by this name; its parts are to be sent one after another."""
        first, *others = self.parts
        return [f'{{"model": {json.dumps(model)}, '.encode() + first, *others]
