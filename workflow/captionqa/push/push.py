"""Pushing: the results of a finished run, and a card that describes them, onto a hub."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from captionqa import __version__
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.files import AnyPath, full_disk_named
from captionqa.push.card import CARD, card
from captionqa.push.final_sets import finished_sets
from captionqa.push.hub import commit
from captionqa.push.public_files import public_files
from captionqa.run.file_lock import Lock, try_lock

#: What the names of the folders of copies begin with.
SCRATCH = ".push-"


@dataclass(frozen=True)
class Push:
    """What is going to be pushed."""

    repo_id: str
    card: str
    #: {path in the repository: the file}, without the card.
    files: Mapping[str, Path]
    #: {path in the repository: why it is not pushed}.
    left_out: Mapping[str, str]
    #: The models that answered.
    models: list[str]

    def text(self) -> str:
        """What a dry run says: the files with their bytes, what is left out, and the card."""
        sizes = {CARD: len(self.card.encode()), **{name: path.stat().st_size for name, path in self.files.items()}}
        lines = [f"{size:>15,}  {name}" for name, size in sizes.items()]
        lines += [f"       left out  {name}: {why}" for name, why in self.left_out.items()]
        total = f"{len(sizes):,} files of {sum(sizes.values()):,} bytes would go to {self.repo_id}."
        return "\n".join([*lines, total, "", self.card])

    def apply(self, private: bool) -> str:
        """Push, and say where it is.

        Raises:
            HubError: as `hub.commit`.
        """
        files: dict[str, Path | bytes] = {CARD: self.card.encode(), **self.files}
        message = f"Results of {', '.join(self.models)} by captionqa {__version__}"
        url = commit(self.repo_id, files, message, private)
        return f"{len(files):,} files were pushed: {url}"


@contextmanager
def prepared_push(config: Config, layout: Layout, repo_id: str) -> Iterator[Push]:
    """What a push of the run of a configuration holds; copies of its files are there until the block ends.

    Raises:
        ConfigError: a run is going on.
        ResultError: the run is not finished, or a file of it is damaged.
        DiskFullError: the disk is full.
    """
    sets = finished_sets(config, layout)
    with full_disk_named(config.output_dir), _scratch(config.output_dir) as folder:
        public = public_files(config, layout, sets, folder)
        readme = card(repo_id.rpartition("/")[2], public.sets, [*public.files])
        yield Push(repo_id, readme, public.files, public.left_out, list(dict.fromkeys(each.model for each in sets)))


@contextmanager
def _scratch(output_dir: str) -> Iterator[Path]:
    """A folder for copies, locked while it is used; those of pushes that were killed are removed."""
    for left in Path(output_dir).glob(f"{SCRATCH}*"):
        with suppress(OSError), _opened(left) as descriptor:  # a file system without such locks leaves it
            if try_lock(descriptor, fcntl.LOCK_EX) is Lock.TAKEN:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=output_dir) as made, _opened(made) as descriptor:
        with suppress(OSError):
            try_lock(descriptor, fcntl.LOCK_SH)
        yield Path(made)


@contextmanager
def _opened(folder: AnyPath) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
