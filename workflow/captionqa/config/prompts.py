"""What the model is asked: the prompt styles, and chat messages with images in their places."""

from collections.abc import Mapping, Sequence
from typing import Any

STYLES = {
    "SIMPLE": "Describe this image in detail.",
    "SHORT": "Write a very short caption for the given image.",
    "LONG": ("Write a very long and detailed caption describing the given image as comprehensively as possible."),
}
IMAGE_MARK = "<image>"
#: Asks for the letter alone where an answer committed to none.
LETTER_PROMPT = "Which option is it? Answer with its letter only."


def style_text(style: str, prompts: Mapping[str, str]) -> str:
    """The text of a style; the user's own `prompts` win over the built-in ones."""
    return prompts.get(style) or STYLES[style]


def question_text(question: str, instruction: str | None) -> str:
    """A question as it is asked: with the instruction on a line of its own behind it, where there is one."""
    return f"{question}\n{instruction}" if instruction else question


def letter_messages(messages: Sequence[dict[str, Any]], said: str) -> list[dict[str, Any]]:
    """The conversation that goes on from what the model said to a question, and asks for the letter alone."""
    return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": LETTER_PROMPT}]


def chat_messages(text: str, image_urls: Sequence[str | bytes]) -> list[dict[str, Any]]:
    """One user message in OpenAI's chat format.

    Each `<image>` mark in the text is replaced in place by the next image; images without a mark come first.
    Raises ValueError where the text has more marks than there are images.
    """
    pieces = text.split(IMAGE_MARK)
    marks = len(pieces) - 1
    if marks > len(image_urls):
        raise ValueError(f"the text has {marks} {IMAGE_MARK} marks for {len(image_urls)} images")
    unmarked = len(image_urls) - marks
    images = [{"type": "image_url", "image_url": {"url": url}} for url in image_urls]
    content = images[:unmarked]
    for index, piece in enumerate(pieces):
        if index:
            content.append(images[unmarked + index - 1])
        if piece:
            content.append({"type": "text", "text": piece})
    return [{"role": "user", "content": content}]
