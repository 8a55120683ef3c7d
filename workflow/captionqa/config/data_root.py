"""The data folder of a `dataset_path`, to which the paths of images in a plan are relative."""

import re
from pathlib import Path

#: What makes a path a pattern: those of `glob`, and braces as of shards-{000..099}.tar.
_MAGIC = re.compile(r"[*?[{]")


def data_root(dataset_path: str) -> Path:
    """The data folder, links followed."""
    return data_folder(dataset_path).resolve()


def data_folder(dataset_path: str) -> Path:
    """The path itself, the folder of a file, or of a pattern the part before it."""
    path = Path(dataset_path)
    if is_pattern(dataset_path):
        parts = path.parts
        return Path(*parts[: next(index for index, part in enumerate(parts) if _MAGIC.search(part))])
    # a file itself may be a link, as in a hub's cache, and its name is not that of its target
    return path.parent if path.is_file() else path


def is_pattern(dataset_path: str) -> bool:
    """Whether a path is a pattern for several, such as `data/test-*.parquet`, and names nothing itself."""
    return bool(_MAGIC.search(dataset_path)) and not Path(dataset_path).exists()
