"""A request to the model: texts and images in their order, and the OpenAI messages that are made of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal, NotRequired, TypedDict

from captionqa.client.image_part import FileReference, ImagePart
from captionqa.client.request_body import Body
from captionqa.config.prompts import LETTER_PROMPT


class TextContent(TypedDict):
    """A text in a message of OpenAI's chat format."""

    type: Literal["text"]
    text: str


class ImageUrl(TypedDict, total=False):
    """The URL of an image: bytes, which the request's body splices in. Missing where the identity stands alone."""

    url: bytes


class ImageContent(TypedDict):
    """An image in a message of OpenAI's chat format."""

    type: Literal["image_url"]
    image_url: ImageUrl
    #: Only to servers that know it: vLLM's name of the image in its caches.
    uuid: NotRequired[str]


class Message(TypedDict):
    """One message of OpenAI's chat format."""

    role: Literal["system", "user", "assistant"]
    content: str | list[TextContent | ImageContent]


class Images(Enum):
    """How a body has the images of its request."""

    #: By what every server understands.
    PLAIN = "plain"
    #: The same with their identities beside them.
    NAMED = "named"
    #: By their identities alone.
    NAMES_ALONE = "names alone"


@dataclass(frozen=True)
class ChatRequest:
    """What the model is asked, once."""

    #: Texts and images of the user's message, in the order in which the model sees them.
    content: Sequence[str | ImagePart]
    max_tokens: int
    #: For a fallback: what the model answered to the content, after which it is asked for a letter alone.
    first_answer: str | None = None
    #: The only answers that are allowed (vLLM's structured outputs); any where empty.
    allowed_answers: Sequence[str] = ()
    #: The system message before the user's; none where empty.
    system: str = ""
    #: The JSON schema of the answer, as JSON; any text where empty.
    schema: str = ""
    #: In place of that of the sampling parameters, for one of several samples.
    seed: int | None = None

    @property
    def references(self) -> list[FileReference]:
        """The files that the server is to read."""
        parts = (part for part in self.content if isinstance(part, ImagePart))
        return [part.reference for part in parts if part.reference is not None]

    def in_bytes(self) -> "ChatRequest":
        """The same request with the bytes of each image in place of references."""
        content = [part.in_bytes() if isinstance(part, ImagePart) else part for part in self.content]
        return replace(self, content=content)

    @property
    def uuids(self) -> list[str]:
        """The identities of all images; none where one has none."""
        found = [part.uuid for part in self.content if isinstance(part, ImagePart)]
        return [] if None in found else [uuid for uuid in found if uuid is not None]

    def whole(self) -> "ChatRequest":
        """The same request with all images; raises ItemFailure where one cannot be read any more."""
        return replace(self, content=[part.whole() if isinstance(part, ImagePart) else part for part in self.content])

    def messages(self, images: Images = Images.PLAIN) -> list[Message]:
        messages: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": [_content(part, images) for part in self.content]})
        if self.first_answer is not None:
            messages.append({"role": "assistant", "content": self.first_answer})
            messages.append({"role": "user", "content": LETTER_PROMPT})
        return messages

    def body(self, parameters: Mapping[str, float], images: Images = Images.PLAIN) -> Body:
        """The request's JSON with these parameters, such as those of sampling."""
        fields: dict[str, object] = {"messages": self.messages(images), "max_tokens": self.max_tokens, **parameters}
        if self.seed is not None:
            fields["seed"] = self.seed
        if self.allowed_answers:
            fields["structured_outputs"] = {"choice": list(self.allowed_answers)}
        if self.schema:  # not vLLM's structured_outputs: other servers know this too
            json_schema = {"name": "caption", "schema": json.loads(self.schema)}
            fields["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        return Body.of(fields)


def _content(part: str | ImagePart, images: Images) -> TextContent | ImageContent:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    content: ImageContent = {"type": "image_url", "image_url": {}}
    if images is not Images.NAMES_ALONE:
        assert part.url is not None
        content["image_url"] = {"url": part.url}
    if images is not Images.PLAIN and part.uuid is not None:
        content["uuid"] = part.uuid
    return content
