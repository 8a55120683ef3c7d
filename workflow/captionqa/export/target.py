"""Where an export goes, and how large its files may be."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from captionqa.dataset.image_source import ImageSources
from captionqa.files import full_disk_named

MB = 1_000_000


@dataclass(frozen=True)
class Target:
    """What a writer of one format is given beside the results."""

    #: An empty folder for its files.
    folder: Path
    #: The most bytes of a file that can be cut.
    shard_bytes: int
    #: A folder for what is sorted on the disk.
    scratch: Path
    #: The images of the captions; None for questions.
    sources: ImageSources | None = None


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that takes the place of `folder`, with all that was in it, when the block ends without an error.

    Raises:
        DiskFullError: the disk is full.
    """
    part = folder.with_name(f".{folder.name}.part")
    with full_disk_named(folder.parent):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            yield part
            if folder.exists():
                shutil.rmtree(folder)
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
