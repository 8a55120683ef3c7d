"""What decides an answer: the settings of a style or of the questions, and their fingerprint."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from captionqa.config.config import Auto, Config
from captionqa.config.prompts import LETTER_PROMPT, style_text

#: Tokens left for the words of the prompt and the chat template when images are fitted to max_model_len.
TEXT_TOKENS = 512
FALLBACK = "fallback"


class ImageSettings(TypedDict):
    """How image files become what is sent; see `client.images` in config/config.yaml."""

    max_pixels: int | Auto | None
    pixel_grid_px: int
    max_source_pixels: int


class AnswerSettings(TypedDict):
    """All that decides an answer. Its fingerprint is in the names of chunk results and in each journal line.

    A key that a configuration does not use is left out, so that answers of earlier versions still fit.
    """

    #: The name of the model in the configuration, and its hub id or folder.
    model: str
    model_path: str
    #: Of a server that may serve several models: the name that picks one.
    served_name: NotRequired[str]
    max_tokens: int
    sampling: Mapping[str, float | None]
    images: ImageSettings
    #: Only where images are fitted to it.
    max_model_len: int | None
    #: Of captions: the text that is sent with each image.
    prompt: NotRequired[str]
    #: Of questions: what is added to each.
    instruction: NotRequired[str]
    #: Of questions: what asks for the letter alone.
    fallback: NotRequired[str]


def caption_settings(config: Config, model: str, style: str) -> AnswerSettings:
    """The settings of the captions of one prompt style."""
    captions = config.section("captions")
    return {**_settings(config, model, captions.max_tokens), "prompt": style_text(style, captions.prompts)}


def qa_settings(config: Config, model: str) -> AnswerSettings:
    """The settings of the questions."""
    qa = config.section("qa")
    settings = _settings(config, model, qa.max_tokens)
    if qa.instruction:
        settings["instruction"] = qa.instruction
    if qa.fallback:
        settings["fallback"] = LETTER_PROMPT
    return settings


def answer_fingerprint(settings: Mapping[str, Any]) -> str:
    """The fingerprint of what decides the answers themselves: a fallback comes after them and changes none."""
    return fingerprint({key: value for key, value in settings.items() if key != FALLBACK})


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that change whenever a setting does."""
    canonical = json.dumps(_plain_numbers(settings), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def image_budget_px(settings: AnswerSettings, images: int) -> int | None:
    """The most pixels an image may have when an item has `images` of them; None for no limit.

    Qwen3-VL spends one token on each square of `pixel_grid_px` pixels a side; half of a short context stays free
    for the words.
    """
    limits = settings["images"]
    if limits["max_pixels"] != "auto":
        return limits["max_pixels"]
    if settings["max_model_len"] is None:
        return None
    tokens = settings["max_model_len"] - settings["max_tokens"]
    tokens -= min(TEXT_TOKENS, tokens // 2)
    return max(1, tokens // max(1, images)) * limits["pixel_grid_px"] ** 2


def _settings(config: Config, name: str, max_tokens: int) -> AnswerSettings:
    model, images = config.models[name], config.client.images
    settings: AnswerSettings = {
        "model": name,
        "model_path": model.path,
        "max_tokens": max_tokens,
        "sampling": config.client.sampling,
        "images": {
            "max_pixels": images.max_pixels,
            "pixel_grid_px": images.pixel_grid_px,
            "max_source_pixels": images.max_source_pixels,
        },
        "max_model_len": model.server.max_model_len if images.max_pixels == "auto" else None,
    }
    if model.url and model.served_model_name:
        settings["served_name"] = model.served_model_name
    return settings


def _plain_numbers(value: Any) -> Any:
    """The same with 0.0 as 0: how a number is written decides nothing."""
    if isinstance(value, Mapping):
        return {key: _plain_numbers(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
