"""What the model is asked: the prompt styles, and the order of texts and images in a message."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

#: An image in whatever form the caller has it.
Image = TypeVar("Image")
#: The built-in prompt styles.
STYLES = {
    "SIMPLE": "Describe this image in detail.",
    "SHORT": "Write a very short caption for the given image.",
    "LONG": "Write a very long and detailed caption describing the given image as comprehensively as possible.",
}
#: Where the caption stands in the template of a text that stands for an image.
CAPTION_FIELD = "{caption}"
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


def place_captions(text: str, captions: Sequence[str], template: str) -> str:
    """The text with captions for its images: each `<image>` mark becomes the next, others are lines before the text.

    Raises:
        ValueError: as `place_images`.
    """
    texts = [template.replace(CAPTION_FIELD, caption) for caption in captions]
    unmarked = max(0, len(texts) - text.count(IMAGE_MARK))
    return "".join([*(f"{line}\n" for line in texts[:unmarked]), *place_images(text, texts)[unmarked:]])


def without_marks(text: str) -> str:
    """The text without its `<image>` marks, and without the blanks and line breaks that this leaves at its ends."""
    return text.replace(IMAGE_MARK, "").strip() if IMAGE_MARK in text else text


def place_images(text: str, images: Sequence[Image]) -> list[str | Image]:
    """The texts and the images of a message, in the order in which the model sees them.

    Each `<image>` mark is replaced by the next image; images without a mark go before the text.

    Raises:
        ValueError: the text has more marks than there are images.
    """
    pieces = text.split(IMAGE_MARK)
    marks = len(pieces) - 1
    if marks > len(images):
        raise ValueError(f"the text has {marks} {IMAGE_MARK} marks for {len(images)} images")
    unmarked = len(images) - marks
    content: list[str | Image] = [*images[:unmarked]]
    for index, piece in enumerate(pieces):
        if index:
            content.append(images[unmarked + index - 1])
        if piece:
            content.append(piece)
    return content
