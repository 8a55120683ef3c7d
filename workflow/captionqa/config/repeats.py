"""Repeats: how often each question is asked, with its options in which orders, and by which seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captionqa.errors import ConfigError

if TYPE_CHECKING:
    from captionqa.config.config import Config


@dataclass(frozen=True)
class ShuffleConfig:
    """`qa.shuffle_choices`: the orders in which the options of each question are asked."""

    #: Of the generator that shuffles.
    seed: int = 0
    #: How many orders, with that of the file, which is the first.
    rounds: int = 1
    #: All rotations in place of shuffles: CircularEval of MMBench.
    circular: bool = False


@dataclass(frozen=True)
class Repeats:
    """How often each question is asked."""

    #: None where options are asked in the order of the file alone.
    shuffle: ShuffleConfig | None = None
    #: How many answers to each question in each order.
    samples: int = 1


ASKED_ONCE = Repeats()


def sample_seed(sampling: Mapping[str, float | None], sample: int) -> int | None:
    """The seed of a sample, from 1: the first has `client.sampling.seed`, each further one the next number.

    Without a configured seed the first has none, and the second 1.
    """
    base = sampling.get("seed")
    return (None if base is None else int(base)) if sample == 1 else int(base or 0) + sample - 1


def samples_by_seed(config: "Config", model: str) -> bool:
    """Whether a request about the one data set has a seed by which the model samples; at temperature 0 none counts."""
    sampling = config.sampling_of(model)
    if sampling["temperature"] == 0:
        return False
    samples = [1 if task == "judge" else config.section(task).samples for task in config.server_tasks(model)]
    return any(sample_seed(sampling, last) is not None for last in samples)


def check_repeats(raw: Mapping[str, Any]) -> None:
    """Whether repeats make sense together; raises ConfigError."""
    qa = raw.get("qa") or {}
    shuffle = qa.get("shuffle_choices") or {}
    if shuffle.get("circular") and shuffle["rounds"] != 1:
        raise ConfigError(
            "qa.shuffle_choices: circular asks each rotation of the options once; leave rounds out, or set circular to "
            "false."
        )
    if shuffle.get("seed") and shuffle["rounds"] == 1 and not shuffle["circular"]:
        raise ConfigError(
            "qa.shuffle_choices: seed decides the second order and those after it, and there is one, that of the file; "
            "set rounds to 2 or more, or leave seed out."
        )
    if shuffle.get("circular") and qa["samples"] > 1:
        raise ConfigError(
            "qa.samples: CircularEval takes one answer to each rotation; set samples to 1, or shuffle_choices to "
            "{rounds: ...}."
        )


def check_samples(config: "Config") -> None:
    """Whether the samples of each model can differ from each other; raises ConfigError."""
    for name in config.model_names:
        where = f"models.{name}.sampling" if "temperature" in config.models[name].sampling else "client.sampling"
        for task in config.tasks_of(name):
            samples = config.section(task).samples
            if samples > 1 and config.sampling_of(name)["temperature"] == 0:
                raise ConfigError(
                    f"{task}.samples: {samples} samples at {where}.temperature 0 would all be the same; set a "
                    "temperature above 0, or samples to 1."
                )
