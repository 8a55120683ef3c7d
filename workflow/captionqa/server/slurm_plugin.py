"""The version of Snakemake's Slurm executor plugin, on whose internals the workflow relies.

rules/executor.smk has the plugin make a server's sbatch options and mends how it asks for its jobs. No interface is
promised for either, and 2.3 has another one.
"""

from captionqa.errors import DependencyError

PLUGIN = "snakemake-executor-plugin-slurm"
#: The release that pyproject.toml pins.
PINNED = "2.8.0"
#: Patch releases of the pinned one keep its internals.
SUPPORTED = "2.8"


def check_plugin(version: str) -> None:
    """Raise DependencyError for a version of the plugin that the workflow does not work with."""
    if version.split(".")[:2] != SUPPORTED.split("."):
        raise DependencyError(
            f"{PLUGIN} {version} is installed, but captionqa needs {SUPPORTED}.x; run `make setup`, or "
            f"`pip install {PLUGIN}=={PINNED}` in the environment of snakemake."
        )
