"""What decides an answer: the settings of a style or of the questions, and their fingerprint."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from captionqa.config.prompts import LETTER_PROMPT, style_text

#: Tokens left for the words of the prompt and the chat template when images are fitted to max_model_len.
TEXT_TOKENS = 512
FALLBACK = "fallback"


def caption_settings(config: Mapping[str, Any], model: str, style: str) -> dict[str, Any]:
    captions = config["captions"]
    return _settings(config, model, captions["max_tokens"]) | {"prompt": style_text(style, captions["prompts"])}


def qa_settings(config: Mapping[str, Any], model: str) -> dict[str, Any]:
    qa = config["qa"]
    settings = _settings(config, model, qa["max_tokens"])
    # what is left out is not named, so that a former run's answers still fit
    if qa["instruction"]:
        settings["instruction"] = qa["instruction"]
    if qa["fallback"]:
        settings[FALLBACK] = LETTER_PROMPT
    return settings


def answer_fingerprint(settings: Mapping[str, Any]) -> str:
    """The fingerprint of what decides the answers themselves: a fallback comes after them and changes none."""
    return fingerprint({key: value for key, value in settings.items() if key != FALLBACK})


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that change whenever a setting does."""
    canonical = json.dumps(_plain_numbers(settings), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def image_budget_px(settings: Mapping[str, Any], images: int) -> int | None:
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


def _settings(config: Mapping[str, Any], model: str, max_tokens: int) -> dict[str, Any]:
    server = config["models"][model]
    images = config["client"]["images"]
    fitted = images["max_pixels"] == "auto"
    return {
        "model": model,
        "model_path": server["path"],
        # an existing server may serve several models, and then this name alone picks one
        **({"served_name": server["served_model_name"]} if server["url"] and server["served_model_name"] else {}),
        "max_tokens": max_tokens,
        "sampling": config["client"]["sampling"],
        "images": {key: images[key] for key in ("max_pixels", "pixel_grid_px", "max_source_pixels")},
        "max_model_len": server["server"]["max_model_len"] if fitted else None,
    }


def _plain_numbers(value: Any) -> Any:
    """The same with 0.0 as 0: how a number is written decides nothing."""
    if isinstance(value, Mapping):
        return {key: _plain_numbers(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
