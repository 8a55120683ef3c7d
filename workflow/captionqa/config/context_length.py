"""Whether images fit into a model's context beside the tokens of an answer; by what is left they are shrunk."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from captionqa.config.pixel_presets import FITS, MEGAPIXEL, PIXEL_PRESETS
from captionqa.config.settings import TEXT_TOKENS, fitting_px
from captionqa.errors import ConfigError

if TYPE_CHECKING:
    from captionqa.config.config import Config, Task

#: The preset to which the room for an image is compared where it gets all that fits: the most that Qwen evaluates with.
MOST = max(PIXEL_PRESETS, key=lambda name: PIXEL_PRESETS[name].px)


def check_context_length(config: "Config") -> None:
    """Whether an answer leaves room for images, where these are fitted to `max_model_len`; raises ConfigError.

    Else each image would be shrunk to one token. vLLM cuts such a `max_tokens` to what it has, and so refuses nothing.
    """
    for name, task, tokens, length in _fitted(config):
        if tokens >= length:
            raise ConfigError(
                f"{task}.max_tokens: an answer may have {tokens:,} tokens, and models.{name}.server.max_model_len "
                f"is {length:,}, which leaves none for images: raise it, or set {task}.max_tokens below it."
            )


def image_room_notes(config: "Config") -> Iterator[str]:
    """Where images are shrunk for the sake of an answer's tokens: below the preset that is configured, or below MOST.

    Without a preset only where these tokens are more than half of the context, which else is short itself.
    """
    wanted, grid_px = config.client.images.max_pixels, config.client.images.pixel_grid_px
    preset = wanted if isinstance(wanted, str) and wanted not in FITS else MOST
    preset_px = PIXEL_PRESETS[preset].px
    needed = TEXT_TOKENS - (-preset_px // grid_px**2)
    for name, task, tokens, length in _fitted(config):
        room_px = fitting_px(length, tokens, 1, grid_px)
        if room_px >= preset_px or (wanted in FITS and tokens <= length // 2):
            continue
        lower = f"{task}.max_tokens to {length - needed:,} or less, or " if length > needed else ""
        yield (
            f"{task}.max_tokens: {tokens:,} of the {length:,} tokens of models.{name}.server.max_model_len are kept "
            f"for an answer, so images above {room_px / MEGAPIXEL:.2f} megapixels are shrunk; for the "
            f"{preset_px / MEGAPIXEL:.2f} of {preset} set {lower}max_model_len to {tokens + needed:,} or more"
        )


def _fitted(config: "Config") -> "Iterator[tuple[str, Task, int, int]]":
    """(model, task, max_tokens, max_model_len) of what is asked about images that are fitted to the context."""
    if not isinstance(config.client.images.max_pixels, str):
        return
    for name in config.model_names:
        length = config.models[name].server.max_model_len
        with_pictures = any(context.sends_pictures for context in config.contexts_of(name))
        for task in config.tasks_of(name):
            if length is not None and (task == "captions" or with_pictures):
                yield name, task, config.section(task).max_tokens, length
