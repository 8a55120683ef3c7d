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
#: Stands in a text for an image.
IMAGE_MARK = "<image>"
#: Asks for the letter alone after an answer that names no option.
LETTER_PROMPT = "Which option is it? Answer with its letter only."


def style_text(style: str, prompts: Mapping[str, str]) -> str:
    """The text of a style; the user's own `prompts` win over the built-in ones."""
    return prompts.get(style) or STYLES[style]


def question_text(question: str, instruction: str | None) -> str:
    """A question as it is asked: with the instruction, if there is one, on a line of its own after it."""
    return f"{question}\n{instruction}" if instruction else question


def place_images(text: str, images: Sequence[Image]) -> list[str | Image]:
    """The texts and the images of a message, in the order in which the model sees them.

    Each `<image>` mark in the text is replaced by the next image; images without a mark come first.
    Raises ValueError where the text has more marks than there are images.
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
