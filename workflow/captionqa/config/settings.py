"""Settings: everything that decides an answer, for one prompt style or for the questions, and their fingerprint."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from captionqa.config.captionqa_protocol import SYSTEM_PROMPTS
from captionqa.config.client_config import ImagesConfig
from captionqa.config.config import Config
from captionqa.config.contexts import IMAGES, Context
from captionqa.config.pixel_presets import FITS, PIXEL_PRESETS
from captionqa.config.prompts import LETTER_PROMPT, style_text
from captionqa.config.qa_config import Auto
from captionqa.config.repeats import sample_seed
from captionqa.errors import ConfigError

#: Tokens kept free for the prompt and the chat template when images are fitted to max_model_len.
TEXT_TOKENS = 512
FALLBACK = "fallback"


class ImageSettings(TypedDict):
    """How image files become what is sent; see `client.images` in config/config.yaml.

    A key that is not required is left out at its default, so that the answers of versions that did not have it keep
    their fingerprint.
    """

    #: A preset is its number.
    max_pixels: int | Auto | None
    pixel_grid_px: int
    max_source_pixels: int
    #: By default the first frame or page that is not empty.
    frame: NotRequired[int]
    #: By default srgb.
    colour: NotRequired[Literal["as_is"]]
    #: By default fail.
    damaged: NotRequired[Literal["send"]]


class AnswerSettings(TypedDict):
    """Everything that decides an answer; its fingerprint is in the name of each chunk result and in each journal line.

    An unused key is left out, so that the answers of versions that did not have it keep their fingerprint.
    """

    #: The name of the model in the configuration, and its hub id or folder.
    model: str
    model_path: str
    #: Which version of the model it is; missing for the first version that the output folder has answers of.
    model_version: NotRequired[str]
    #: The name to ask an existing server for, which may serve several models.
    served_name: NotRequired[str]
    max_tokens: int
    sampling: Mapping[str, float | None]
    #: Missing where no image is sent.
    images: NotRequired[ImageSettings]
    #: In tokens; None unless images are fitted to it (`max_pixels` is a word), and missing where no image is sent.
    max_model_len: NotRequired[int | None]
    #: Captions only: the text sent with each image.
    prompt: NotRequired[str]
    #: Captions only: the text sent in its place with several images of one item.
    multi_image_prompt: NotRequired[str]
    #: Captions only: the JSON schema of the answers, as JSON: a text, since the order of its keys is part of it.
    schema: NotRequired[str]
    #: Questions only: the line added to each question.
    instruction: NotRequired[str]
    #: Questions only: the follow-up that asks for the letter alone.
    fallback: NotRequired[str]
    #: Questions only: how many likely tokens the server gives in each place; see `client.logprobs`.
    logprobs: NotRequired[int]
    #: Questions only: what they are asked with in place of their images.
    context: NotRequired[Literal["caption", "none", "gray"]]
    #: Questions with captions only: the text that stands for an image.
    caption_template: NotRequired[str]
    #: Only with a protocol that has one: the system message before each question.
    system_prompt: NotRequired[str]
    #: Of a judge alone: the text into which the question, its ground truth and the answer are put.
    judge_prompt: NotRequired[str]


def caption_settings(config: Config, model: str, style: str, sample: int = 1) -> AnswerSettings:
    """The settings of the captions of one prompt style; each further sample has a seed of its own."""
    captions = config.section("captions")
    settings = _settings(config, model, captions.max_tokens)
    settings["prompt"] = style_text(style, {**captions.prompts, **config.models[model].prompts})
    if captions.multi_image_prompt:
        settings["multi_image_prompt"] = captions.multi_image_prompt
    if captions.schema_text is not None:
        settings["schema"] = captions.schema_text
    if sample > 1:
        settings["sampling"] = {**settings["sampling"], "seed": sample_seed(settings["sampling"], sample)}
    return settings


def caption_prompt(settings: AnswerSettings, images: int) -> str:
    """The text sent with the images of an item, by their number."""
    return settings.get("multi_image_prompt", settings["prompt"]) if images > 1 else settings["prompt"]


def qa_settings(config: Config, model: str, context: Context = IMAGES) -> AnswerSettings:
    """The settings of the questions in one context.

    Those of captions do not say which captions: a journal line has the digest of the text that was asked.
    """
    qa = config.section("qa")
    settings = _settings(config, model, qa.max_tokens)
    own = config.models[model].instruction
    instruction = qa.instruction if own is None else own
    if isinstance(instruction, str) and instruction:
        settings["instruction"] = instruction
    if qa.fallback:
        settings["fallback"] = LETTER_PROMPT
    if config.client.logprobs is not None:
        settings["logprobs"] = config.client.logprobs
    if qa.protocol:
        settings["system_prompt"] = SYSTEM_PROMPTS[context.kind]
    if context.kind != "image":
        settings["context"] = context.kind
    if context.kind == "caption":
        settings["caption_template"] = qa.caption_template
    if context.kind in ("caption", "none"):
        del settings["images"], settings["max_model_len"]
    return settings


def judge_settings(config: Config) -> AnswerSettings:
    """The settings of the judge. Which answers it gets is in none of them: what it was asked tells that."""
    judge = config.judge
    assert judge is not None, "there is a judge"
    settings = _settings(config, judge.model, judge.max_tokens)
    del settings["images"], settings["max_model_len"]
    settings["judge_prompt"] = judge.template
    return settings


def sends_text_alone(settings: AnswerSettings) -> bool:
    """Whether requests have no images, whatever the items are about."""
    return settings.get("context") in ("caption", "none") or "judge_prompt" in settings


def request_parameters(settings: AnswerSettings) -> dict[str, float]:
    """What each request has beside its messages and max_tokens."""
    parameters = {name: value for name, value in settings["sampling"].items() if value is not None}
    if "logprobs" in settings:
        parameters |= {"logprobs": True, "top_logprobs": settings["logprobs"]}
    return parameters


def answer_fingerprint(settings: Mapping[str, Any]) -> str:
    """The fingerprint without the fallback, which follows an answer and changes none."""
    return fingerprint({key: value for key, value in settings.items() if key != FALLBACK})


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that change whenever a setting does."""
    canonical = json.dumps(_plain_numbers(settings), sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def check_planned(settings: AnswerSettings, planned: str) -> None:
    """Check that the settings are those of the fingerprint that a job was planned with.

    Raises:
        ConfigError: they are not, for example since a file system shows an old record of the model's versions.
    """
    if (now := fingerprint(settings)) != planned:
        raise ConfigError(
            f"this job was planned for other settings ({planned}) than it finds now ({now}), so it asked nothing; run "
            "the same command again."
        )


def image_budget_px(settings: AnswerSettings, images: int) -> int | None:
    """The most pixels that an image may have in an item of `images` images; None for no limit."""
    limits = settings["images"]
    most_px = None if limits["max_pixels"] == "auto" else limits["max_pixels"]
    if settings["max_model_len"] is None:
        return most_px
    room_px = fitting_px(settings["max_model_len"], settings["max_tokens"], images, limits["pixel_grid_px"])
    return room_px if most_px is None else min(most_px, room_px)


def fitting_px(max_model_len: int, max_tokens: int, images: int, pixel_grid_px: int) -> int:
    """The most pixels that each of `images` images may have to fit into the context beside the answer and the text.

    Qwen3-VL spends one token on each square of `pixel_grid_px` pixels a side. TEXT_TOKENS stay free for the text, or
    half of the context where it is shorter than twice that.
    """
    tokens = max_model_len - max_tokens
    tokens -= min(TEXT_TOKENS, tokens // 2)
    return max(1, tokens // max(1, images)) * pixel_grid_px**2


def _settings(config: Config, name: str, max_tokens: int) -> AnswerSettings:
    model, images = config.models[name], config.client.images
    settings: AnswerSettings = {
        "model": name,
        "model_path": model.path,
        "max_tokens": max_tokens,
        "sampling": config.sampling_of(name),
        "images": image_settings(images),
        "max_model_len": model.server.max_model_len if isinstance(images.max_pixels, str) else None,
    }
    if model.url and model.served_model_name:
        settings["served_name"] = model.served_model_name
    if model.version_key is not None:
        settings["model_version"] = model.version_key
    return settings


def image_settings(images: ImagesConfig) -> ImageSettings:
    settings: ImageSettings = {
        "max_pixels": _max_pixels(images.max_pixels),
        "pixel_grid_px": images.pixel_grid_px,
        "max_source_pixels": images.max_source_pixels,
    }
    if images.frame != "auto":
        settings["frame"] = images.frame
    if images.colour == "as_is":
        settings["colour"] = images.colour
    if images.damaged == "send":
        settings["damaged"] = images.damaged
    return settings


def _max_pixels(configured: int | str | None) -> int | Auto | None:
    if configured in FITS:
        return "auto"
    return PIXEL_PRESETS[configured].px if isinstance(configured, str) else configured


def _plain_numbers(value: Any) -> Any:
    """The value with 0.0 written as 0: both mean the same setting."""
    if isinstance(value, Mapping):
        return {key: _plain_numbers(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
