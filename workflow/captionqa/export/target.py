"""Where an export goes, how large its files may be, and what it was made from."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from captionqa.config.layout import Layout
from captionqa.dataset.image_source import ImageSources
from captionqa.files import full_disk_named, read_json, write_json

MB = 1_000_000
#: In the folder of an export: the digest of what it was made from, and its summary.
MADE_FROM = ".made_from"


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
    #: The JSON schema of the captions, as JSON; empty for free text.
    schema: str = ""


class ExportFolder:
    """The folder of one export, which is replaced as a whole where it was made from something else."""

    def __init__(self, folder: Path, sources: Iterable[str], *values: object):
        """`sources` are the files and `values` the settings that decide what it holds."""
        self._folder = folder
        self._made_from = _digest(sources, values)

    def known_summary(self) -> object | None:
        """The summary of what is there, if it was made from the same; None where it has to be written."""
        stored = read_json(self._folder / MADE_FROM)
        if isinstance(stored, dict) and stored.get("digest") == self._made_from:
            return stored.get("summary")
        return None

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A folder that takes the place of the one that is there when the block ends without an error.

        Raises:
            DiskFullError: the disk is full.
        """
        part = self._folder.with_name(f".{self._folder.name}.part")
        with full_disk_named(self._folder.parent):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            try:
                yield part
                shutil.rmtree(self._folder, ignore_errors=True)
                part.rename(self._folder)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise

    def finish(self, summary: object) -> None:
        """Say that the export is complete: first what it was made from, then the file that Snakemake waits for."""
        write_json(self._folder / MADE_FROM, {"digest": self._made_from, "summary": summary})
        self.confirm(summary)

    def confirm(self, summary: object) -> None:
        write_json(Layout.export_summary(str(self._folder)), summary)


def _digest(sources: Iterable[str], values: Iterable[object]) -> str:
    found = hashlib.blake2b(repr(tuple(values)).encode("utf-8", "surrogatepass"), digest_size=16)
    for path in sources:
        with open(path, "rb") as file:
            found.update(hashlib.file_digest(file, "blake2b").digest())
    return found.hexdigest()
