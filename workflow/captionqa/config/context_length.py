"""Whether images fit into a model's context beside the tokens of an answer; by what is left they are shrunk."""

from typing import TYPE_CHECKING

from captionqa.errors import ConfigError

if TYPE_CHECKING:
    from captionqa.config.config import Config


def check_context_length(config: "Config") -> None:
    """Whether an answer leaves room for images, where these are fitted to `max_model_len`; raises ConfigError.

    Else each image would be shrunk to one token. vLLM cuts such a `max_tokens` to what it has, and so refuses nothing.
    """
    if not isinstance(config.client.images.max_pixels, str):
        return
    for name in config.model_names:
        length = config.models[name].server.max_model_len
        with_pictures = any(context.sends_pictures for context in config.contexts_of(name))
        for task in (task for task in config.tasks_of(name) if task == "captions" or with_pictures):
            tokens = config.section(task).max_tokens
            if length is not None and tokens >= length:
                raise ConfigError(
                    f"{task}.max_tokens: an answer may have {tokens:,} tokens, and models.{name}.server.max_model_len "
                    f"is {length:,}, which leaves none for images: raise it, or set {task}.max_tokens below it."
                )
