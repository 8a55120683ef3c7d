"""Whether this user may write where a run writes, found out before anything is read, written or removed there."""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.errors import ConfigError


def check_output_folder(config: Config, layout: Layout) -> None:
    """Check the folders that are there of those in which each run writes; even a dry run lists there what it finds.

    Raises:
        ConfigError: this user may not write in one of them.
    """
    for folder in dict.fromkeys(map(_existing, _written(config, layout))):
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"output_dir: you cannot write in {folder}, {_why(folder)}; set another output_dir.")


def _written(config: Config, layout: Layout) -> Iterable[str]:
    yield layout.output_dir
    for each, of_data in config.by_data_set(layout):
        yield from (of_data.data_folder, of_data.plans, os.path.dirname(of_data.page))
        yield from map(of_data.task_items, each.tasks)
        for of_model in of_data.of_models(config.model_names):
            # Snakemake removes final files before it has them made again
            final = (of_model.captions(), of_model.qa("results"))
            yield from (of_model.work, of_model.logs, *map(os.path.dirname, final))


def _existing(path: str) -> Path:
    """The path, or the nearest folder above it that is there."""
    absolute = Path(path).absolute()
    return next(place for place in (absolute, *absolute.parents) if os.path.lexists(place))


def _why(folder: Path) -> str:
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return "whose file system is mounted read-only"
    owner = folder.stat().st_uid
    if owner == os.geteuid():
        return "whose mode forbids it"
    try:
        return f"which belongs to {pwd.getpwuid(owner).pw_name}"
    except KeyError:
        return f"which belongs to user {owner}"
