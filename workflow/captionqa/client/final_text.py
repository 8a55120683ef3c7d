"""What of an answer is the model's reasoning, and what its final words."""

from captionqa.client.answer import Answer
from captionqa.errors import ItemFailure, Reason
from captionqa.reasoning import split_reasoning


def split_answer(answer: Answer) -> tuple[str, str | None]:
    """(the reasoning, what follows it); the second is None where the answer ended within its reasoning.

    The reasoning is what a reasoning parser of the server took out, and what stands before `</think>`.
    """
    parsed = answer.get("reasoning", "")
    if parsed and not answer["text"].strip():
        return parsed, None
    thinking, text = split_reasoning(answer["text"])
    return "\n".join(filter(None, [parsed, thinking])), text


def caption_text(answer: Answer) -> str:
    """The caption in an answer.

    Raises:
        ItemFailure: empty_output, where the answer ended within its reasoning.
    """
    _, text = split_answer(answer)
    if not text:
        raise ItemFailure(
            Reason.EMPTY_OUTPUT, "the answer ended within its reasoning; captions.max_tokens may be too low"
        )
    return text
