"""A model's answer, as clients keep it and as files hold it."""

from typing import TYPE_CHECKING, TypedDict, TypeGuard, final

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


def is_answer(value: object) -> TypeGuard[Answer]:
    """Whether a value from a file has the form of an answer."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("text"), str)
        and isinstance(value.get("finish_reason", 0), str | None)
        and isinstance(value.get("prompt_tokens"), int)
        and isinstance(value.get("completion_tokens"), int)
        and isinstance(value.get("server"), dict)
    )
