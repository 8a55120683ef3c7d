"""A model's answer, as clients keep it and as files hold it."""

from typing import TYPE_CHECKING, TypedDict, final

if TYPE_CHECKING:  # merging reads answers and has no use for the code of the server room
    from captionqa.server.endpoint import ServerIdentity


@final
class Answer(TypedDict):
    """What one chat completion brought."""

    #: The model's output, unchanged.
    text: str
    #: Why the model stopped: "stop", "length" (at max_tokens), another word of the server's, or None.
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    server: "ServerIdentity"
