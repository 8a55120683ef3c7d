"""Pushing: the results of a finished run, and a card that describes them, onto a hub."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from captionqa import __version__
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.files import full_disk_named
from captionqa.push.card import CARD, card
from captionqa.push.final_sets import finished_sets
from captionqa.push.hub import commit
from captionqa.push.public_files import public_files


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
    with (
        full_disk_named(config.output_dir),
        tempfile.TemporaryDirectory(prefix=".push-", dir=config.output_dir) as made,
    ):
        public = public_files(config, layout, sets, Path(made))
        readme = card(repo_id.rpartition("/")[2], public.sets, [*public.files])
        yield Push(repo_id, readme, public.files, public.left_out, list(dict.fromkeys(each.model for each in sets)))
