"""Captions as LLaVA's conversations: a JSON list as `llava/train/train.py` of haotian-liu/LLaVA reads it.

Its loader opens `image` below --image_folder, takes turns of human and gpt, and counts an image for each `<image>`.
"""

from collections.abc import Iterable

from captionqa.config.prompts import IMAGE_MARK, place_images
from captionqa.export.caption_stream import Caption
from captionqa.export.json_text import json_text
from captionqa.export.named_files import file_path
from captionqa.export.pieces import Pieces
from captionqa.export.target import Target

#: What a caption has in place of the mark, which would be taken for one more image.
WRITTEN_MARK = "< image >"


def write_llava(captions: Iterable[Caption], target: Target) -> None:
    """captions-00000.json and so on.

    Raises:
        ResultError: an image has no path in the folder.
    """
    with Pieces(target, "captions", "json", head="[\n", between=",\n", tail="\n]\n") as pieces:
        for caption in captions:
            turns = [("human", _question(caption.prompt)), ("gpt", caption.text.replace(IMAGE_MARK, WRITTEN_MARK))]
            conversation = {
                "id": caption.id,
                "image": file_path(caption.id, caption.images, "llava"),
                "conversations": [{"from": who, "value": text} for who, text in turns],
            }
            pieces.add(json_text(conversation))


def _question(prompt: str) -> str:
    """The prompt with the mark of its image, which is on a line of its own where the prompt has none."""
    parts = place_images(prompt, [IMAGE_MARK])
    return "\n".join(parts) if parts[0] == IMAGE_MARK else "".join(parts)
