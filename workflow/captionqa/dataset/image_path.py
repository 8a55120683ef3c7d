"""The location of an image file: links are followed, but only within the data set and the allowed roots."""

import os
import stat
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from captionqa.errors import ItemFailure, Reason

#: Folders of images whose real paths are cached.
FOLDERS = 4096


def locate(dataset: Path, name: str, allowed_roots: Sequence[Path]) -> Path:
    """The real path of an image, links followed; `dataset` and `allowed_roots` are resolved folders.

    Raises:
        ItemFailure: path_outside_dataset where the path leads out of all these folders, missing_image where it leads
            to no file, unreadable_image where a folder on the way may not be entered.
    """
    try:
        path = dataset / name
        plain = path.name != ".." and _is_plain_file(path)
        real = _real_folder(path.parent) / path.name if plain else path.resolve()
        if not any(real.is_relative_to(root) for root in (dataset, *allowed_roots)):
            if name.startswith("/") and not real.exists():
                raise ItemFailure(
                    Reason.MISSING_IMAGE,
                    f"no file {name!r}, which may be a path of another machine; give paths relative to {dataset}",
                )
            raise ItemFailure(
                Reason.PATH_OUTSIDE_DATASET,
                f"{name!r} leads to {real}, outside {dataset}; if that is meant, add its folder to "
                "client.images.allowed_roots and `captionqa retry-failed`",
            )
        if not plain and not real.is_file():
            raise ItemFailure(Reason.MISSING_IMAGE, f"no file {name!r} in {dataset}")
    except PermissionError as error:
        raise ItemFailure(Reason.UNREADABLE_IMAGE, f"{name!r}: {error.strerror}") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ItemFailure(Reason.MISSING_IMAGE, f"{name!r} is not a usable path: {error}") from error
    return real


def _is_plain_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


@lru_cache(FOLDERS)
def _real_folder(folder: Path) -> Path:
    return folder.resolve()
