"""What `qa.protocol: captionqa` sets: the prompts of the published evaluation, and what goes with them.

Yang et al., CaptionQA, CVPR 2026; github.com/bronyayang/CaptionQA, qa.py. That code asks about captions only; the
prompts for the other contexts say what is there in the same words.
"""

from collections.abc import Mapping
from typing import Any

from captionqa.config.contexts import ContextKind
from captionqa.errors import ConfigError

PROTOCOL = "captionqa"
#: A caption above its question.
CAPTION_TEMPLATE = "Caption:\n{caption}\n"
_LETTER_ONLY = "Answer with a SINGLE LETTER (A, B, C, ...), no explanation."
_WITH_IMAGE = f"You are given an image, and a question about the image. {_LETTER_ONLY}"
SYSTEM_PROMPTS: Mapping[ContextKind, str] = {
    "caption": f"You are given a caption describing an image, and a question about the image. {_LETTER_ONLY}",
    "image": _WITH_IMAGE,
    "gray": _WITH_IMAGE,
    "none": f"You are given a question about an image. {_LETTER_ONLY}",
}
#: Keys of `qa` that the protocol gives where the configuration does not.
GIVEN = {"max_tokens": 4, "caption_template": CAPTION_TEMPLATE, "instruction": None, "answer_is": "text"}
#: Keys of `qa` that would change the protocol, with the only value that leaves it as it is.
FIXED = {"instruction": None, "instructions": None, "answer_is": "text", "scoring": "any", "fallback": False}


def add_protocol(raw: Mapping[str, Any]) -> None:
    """Give the keys of `qa` that a configuration with the protocol leaves out their values, in place."""
    qa = raw.get("qa")
    if isinstance(qa, dict) and qa.get("protocol") == PROTOCOL:
        for key, value in GIVEN.items():
            qa.setdefault(key, value)


def check_protocol(raw: Mapping[str, Any]) -> None:
    """Raise ConfigError where a configuration has the protocol and a key that contradicts it."""
    qa = raw.get("qa")
    if not qa or qa["protocol"] != PROTOCOL:
        return
    for key, value in FIXED.items():
        if qa[key] != value:
            written = "null" if value is None else str(value).lower()
            raise ConfigError(
                f"qa.{key}: with qa.protocol: {PROTOCOL} it is {written}, since the protocol fixes how "
                "questions are asked and graded; leave the key out."
            )
