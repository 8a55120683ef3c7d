"""Presets of `client.sampling`: how the authors of a family of models sample where they evaluate it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from captionqa.errors import ConfigError


@dataclass(frozen=True)
class SamplingPreset:
    """What a preset gives where the configuration has no value of its own."""

    #: Where the values are from.
    source: str
    #: Values of `client.sampling`.
    sampling: Mapping[str, float]
    #: Of `qa.max_tokens` and `captions.max_tokens`.
    max_tokens: int


_QWEN3_VL = "README of github.com/QwenLM/Qwen3-VL, commit 0f2afbe, Evaluation Reproduction"
PRESETS: Mapping[str, SamplingPreset] = {
    # the model cards have the same but no seed and 16384 tokens
    "qwen3_vl_instruct": SamplingPreset(
        f"{_QWEN3_VL}, Instruct models",
        {
            "temperature": 0.7,
            "top_p": 0.8,
            "top_k": 20,
            "repetition_penalty": 1,
            "presence_penalty": 1.5,
            "seed": 3407,
        },
        32768,
    ),
    # the model cards have the same but no seed and temperature 1
    "qwen3_vl_thinking": SamplingPreset(
        f"{_QWEN3_VL}, Thinking models",
        {"temperature": 0.8, "top_p": 0.95, "top_k": 20, "repetition_penalty": 1, "presence_penalty": 0, "seed": 1234},
        40960,
    ),
}


def add_sampling_presets(raw: Mapping[str, Any]) -> None:
    """Put the values of `client.sampling.preset` in its place, where the configuration leaves them out.

    The same for `models.NAME.sampling.preset`, which gives no max_tokens: those are for all models. Afterwards the
    configuration is as if it had these values itself, so that they decide the fingerprints and not the name.

    Raises:
        ConfigError: there is no preset of this name.
    """
    if (preset := _added(raw.get("client"), "client")) is not None:
        for task in ("captions", "qa"):
            if isinstance(section := raw.get(task), dict) and "max_tokens" not in section:
                section["max_tokens"] = preset.max_tokens
    models = raw.get("models")
    for name, model in models.items() if isinstance(models, dict) else ():
        _added(model, f"models.{name}")


def _added(section: Any, place: str) -> SamplingPreset | None:
    """The preset that `sampling` of a section names, whose values are in its place now; None where it names none."""
    sampling = section.get("sampling") if isinstance(section, dict) else None
    if not isinstance(sampling, dict) or (name := sampling.pop("preset", None)) is None:
        return None
    if not isinstance(name, str) or (preset := PRESETS.get(name)) is None:
        raise ConfigError(f"{place}.sampling.preset: there is no preset {name!r}; known are {', '.join(PRESETS)}.")
    for key, value in preset.sampling.items():
        sampling.setdefault(key, value)
    return preset
