"""A model's answer, as clients keep it and as files hold it."""

from collections.abc import Mapping
from typing import Any, TypedDict, final


@final
class Answer(TypedDict):
    """What one chat completion brought."""

    #: The model's output, unchanged.
    text: str
    #: Why the model stopped: "stop", "length" (at max_tokens), another word of the server's, or None.
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    #: The server: its url, its generation and the version of each of its packages.
    server: Mapping[str, Any]
