"""Checking the contexts of a configuration: whether their captions are there, and their files apart."""

import os

from captionqa.config.config import Config
from captionqa.config.contexts import Context, question_contexts
from captionqa.errors import ConfigError


def check_contexts(config: Config) -> None:
    """Whether the questions' captions are configured, and the files of each are its own; raises ConfigError."""
    if config.qa is None or "caption" not in config.qa.contexts:
        return
    of_captions = question_contexts(["caption"], config.prompt_styles, config.qa.caption_files)
    if not of_captions:
        raise ConfigError(
            "qa.contexts: caption needs captions: add the section captions, or name a file of them in qa.captions_from."
        )
    seen: set[str] = set()
    for context in of_captions:
        if context.name in seen:
            raise ConfigError(
                f"qa.captions_from: {context.captions!r} would write the files of the captions of that name; give the "
                "file another name."
            )
        seen.add(context.name)
        if context.file is not None and not os.path.isfile(context.file):
            raise ConfigError(f"qa.captions_from: there is no file {context.file}.")
    _refuse_same_files(config)


def _refuse_same_files(config: Config) -> None:
    """Styles and models that a reader's files name may run together: B_C of A, and C of A_B."""
    for model in config.model_names:
        by_suffix: dict[str, Context] = {}
        for context in config.contexts_of(model):
            other = by_suffix.setdefault(context.suffix, context)
            if other is not context:
                raise ConfigError(
                    f"qa.reader: {model} would write its answers from the captions {other.captions} of "
                    f"{other.captioner} and {context.captions} of {context.captioner} into the same files; name a "
                    "style or a model otherwise."
                )
