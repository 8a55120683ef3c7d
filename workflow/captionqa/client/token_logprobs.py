"""Token log-probabilities of a chat completion, in OpenAI's form."""

from typing import Any

from captionqa.client.answer import LikelyToken, TokenLogprob

#: What vLLM gives for a token that cannot be; JSON has no number for its logarithm.
IMPOSSIBLE = -9999.0


def token_logprobs(value: Any) -> list[TokenLogprob] | None:
    """The tokens of a choice's `logprobs`; None where there are none, since the answer is no worse for it."""
    if value is None:
        return None
    try:
        return [{**_likely(one), "top_logprobs": list(map(_likely, one["top_logprobs"]))} for one in value["content"]]
    except (TypeError, KeyError, ValueError, OverflowError):
        return None


def _likely(value: Any) -> LikelyToken:
    return {"token": str(value["token"]), "logprob": min(0.0, max(IMPOSSIBLE, float(value["logprob"])))}
