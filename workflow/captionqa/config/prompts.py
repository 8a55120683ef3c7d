"""What the model is asked: the prompt styles, and chat messages with images in their places."""

from collections.abc import Mapping, Sequence
from typing import Any

STYLES = {
    "SIMPLE": "Describe this image in detail.",
    "SHORT": "Write a very short caption for the given image.",
    "LONG": ("Write a very long and detailed caption describing the given image as comprehensively as possible."),
}
#: Where an image stands in a question's text.
IMAGE_MARK = "<image>"
#: The follow-up to an answer that commits to no option.
LETTER_PROMPT = "Which option is it? Answer with its letter only."


def style_text(style: str, prompts: Mapping[str, str]) -> str:
    """The prompt of a style; the user's `prompts` override the built-in ones."""
    return prompts.get(style) or STYLES[style]


def question_text(question: str, instruction: str | None) -> str:
    """The question, followed by the instruction on a line of its own if there is one."""
    return f"{question}\n{instruction}" if instruction else question


def letter_messages(messages: Sequence[dict[str, Any]], said: str) -> list[dict[str, Any]]:
    """The conversation continued: the model's answer `said`, then the request for the letter alone."""
    return [*messages, {"role": "assistant", "content": said}, {"role": "user", "content": LETTER_PROMPT}]


def chat_messages(text: str, image_urls: Sequence[str | bytes]) -> list[dict[str, Any]]:
    """One user message in OpenAI's chat format.

    Each `<image>` mark is replaced by the next image; images without a mark go before the text.

    Raises:
        ValueError: the text has more marks than there are images.
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
