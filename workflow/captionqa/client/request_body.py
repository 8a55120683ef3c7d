"""The body of a request: JSON as bytes with the images spliced in, built once and sent as often as needed."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

#: Stands for an image while the rest becomes JSON; random, so that no text of a request holds it.
_PLACEHOLDER = secrets.token_hex(16)


@dataclass(frozen=True)
class Body:
    """A request's JSON without the model's name, as UTF-8."""

    #: To be sent one after another. Each image is a part of its own, so it is never copied.
    parts: tuple[bytes, ...]

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> "Body":
        """The body with these fields, at least one.

        A value of type bytes is sent as a JSON string. It must hold nothing that JSON would escape; a URL does not.
        """
        images: list[bytes] = []

        def keep(image: bytes) -> str:
            images.append(image)
            return _PLACEHOLDER

        head, *others = json.dumps(fields, default=keep).removeprefix("{").encode().split(_PLACEHOLDER.encode())
        parts = [head]
        for image, other in zip(images, others, strict=True):
            parts += [image, other]
        return cls(tuple(parts))

    def with_model(self, model: str) -> list[bytes]:
        """The parts of the whole body, for a server that knows the model by this name."""
        head, *others = self.parts
        return [f'{{"model": {json.dumps(model)}, '.encode() + head, *others]
