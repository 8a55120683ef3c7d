"""The resources of a server's Slurm job, as Snakemake names them, checked against the configuration."""

from collections.abc import Mapping
from typing import Any

from captionqa.errors import ConfigError


def gpus_asked(resources: Mapping[str, Any]) -> int:
    """The GPUs in a rule's resources: `gpu` (`gpu_model` alone means one), else a `gres` for GPUs."""
    if resources.get("gpu") or resources.get("gpu_model"):
        return int(resources.get("gpu") or 1)
    for part in str(resources.get("gres") or "").split(","):
        name, *details = part.split(":")
        if name == "gpu":
            return int(details[-1]) if details and details[-1].isdigit() else 1
    return 0


def checked_gpus(tensor_parallel_size: int | None, resources: Mapping[str, Any]) -> int:
    """The GPUs of a server's job with these resources.

    Raises:
        ConfigError: the resources contradict each other or the configured number of GPUs.
    """
    if any(resources.get(name) for name in ("cluster", "clusters", "slurm_cluster")):
        raise ConfigError("start_server cannot be sent to another Slurm cluster; start snakemake on that cluster.")
    if "gpu" in str(resources.get("gres") or "") and (resources.get("gpu") or resources.get("gpu_model")):
        raise ConfigError(
            f"start_server asks for GPUs twice, as gres {resources.get('gres')!r} and as gpu; set-resources "
            "start_server:gpu=0 beside the gres."
        )
    asked = gpus_asked(resources)
    if tensor_parallel_size not in (None, max(asked, 1)):
        raise ConfigError(
            f"server.tensor_parallel_size is {tensor_parallel_size}, but each server's job asks Slurm for {asked} "
            f"GPUs; leave it out, or set-resources start_server:gpu={tensor_parallel_size} in the profile."
        )
    return asked
