"""A model's own texts, `models.NAME.prompts` and `models.NAME.instruction`, in place of those of all models."""

from typing import TYPE_CHECKING

from captionqa.config.schema_sentence import nearest
from captionqa.errors import ConfigError

if TYPE_CHECKING:
    from captionqa.config.config import Config


def check_model_prompts(config: "Config") -> None:
    """Whether the texts of each model are of what it is asked; raises ConfigError."""
    styles = {style for each in config.data_sets.values() for style in each.prompt_styles}
    for name, model in config.models.items():
        if unknown := next((style for style in model.prompts if style not in styles), None):
            raise ConfigError(
                f"models.{name}.prompts: {unknown!r} is none of captions.prompt_styles{nearest(unknown, styles)}; add "
                "it there, or leave it out."
            )
        if model.prompts and name not in config.captioners:
            what = "the reader" if name == config.reader else "the judge"
            raise ConfigError(f"models.{name}.prompts: {name} is {what}, which writes no captions; leave them out.")
        if model.instruction is not None:
            _check_instruction(config, name)


def _check_instruction(config: "Config", model: str) -> None:
    """Whether a model is asked the questions, and those of all data sets have room for its instruction.

    Raises:
        ConfigError: it is not, or they have not.
    """
    if model == config.judge_alone:
        raise ConfigError(
            f"models.{model}.instruction: {model} is the judge, which is asked by qa.judge.prompt; leave it out."
        )
    for name, each in config.data_sets.items():
        if each.qa is None:
            continue
        key = f"qa.{name}" if name else "qa"
        if each.qa.instructions_by_type:
            raise ConfigError(
                f"models.{model}.instruction: {key} has instructions by the type of question, which all models get; "
                "leave one of the two out."
            )
        if each.qa.protocol:
            raise ConfigError(
                f"models.{model}.instruction: {key}.protocol fixes how questions are asked; leave one of the two out."
            )
