"""A model's answer, as clients keep it and as files hold it."""

from typing import TYPE_CHECKING, NotRequired, TypedDict, TypeGuard, final

if TYPE_CHECKING:  # merging reads answers and has no use for the code of the server room
    from captionqa.server.endpoint import ServerIdentity


class LikelyToken(TypedDict):
    """A token and the natural logarithm of its probability."""

    token: str
    logprob: float


class TokenLogprob(LikelyToken):
    """A token of an answer."""

    #: The likeliest tokens in its place, the likeliest first, as many as `client.logprobs` asks for.
    top_logprobs: list[LikelyToken]


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
    #: The reasoning that a reasoning parser of the server took out of the text; absent where it took none.
    reasoning: NotRequired[str]
    #: The answer's tokens in their order, where `client.logprobs` asks for them.
    logprobs: NotRequired[list[TokenLogprob]]


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
