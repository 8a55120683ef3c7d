"""The data folder of a `dataset_path`, to which the paths of images in a plan are relative."""

import re
from pathlib import Path

#: What makes a path a pattern, as `glob` reads it.
_MAGIC = re.compile(r"[*?[]")


def data_root(dataset_path: str) -> Path:
    """The folder, links followed: the path itself, the folder of a file, or of a pattern the part before it."""
    path = Path(dataset_path)
    if path.is_dir():
        return path.resolve()
    if is_pattern(dataset_path):
        parts = path.parts
        plain = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
        return Path(*parts[:plain]).resolve()
    # a file itself may be a link, as in a hub's cache, and its name is not that of its target
    return path.parent.resolve() if path.is_file() else path.resolve()


def is_pattern(dataset_path: str) -> bool:
    """Whether a path is a pattern for several, such as `data/test-*.parquet`, and names nothing itself."""
    return bool(_MAGIC.search(dataset_path)) and not Path(dataset_path).exists()
