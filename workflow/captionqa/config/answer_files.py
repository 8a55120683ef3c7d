"""The work files behind one final file: the journal of its answers and the results of its chunks."""

import time
from dataclasses import dataclass
from pathlib import Path

from captionqa.files import write_json

#: The name of a chunk's result. `fingerprint` is that of the settings, `digest` that of the list of items. Of questions
#: with captions another digest, which stands for the captions, follows it after a dot.
CHUNK_NAME = "{chunk}-of-{n}.{fingerprint}.{digest}.jsonl"


@dataclass(frozen=True)
class AnswerFiles:
    """Paths in the work folder of one prompt style's captions or of the question answers.

    The folder may hold Snakemake wildcards such as `{style}`.
    """

    folder: str

    @property
    def chunks(self) -> Path:
        """Folder of the chunk results."""
        return Path(self.folder) / "chunks"

    def result(self, name: str = CHUNK_NAME) -> str:
        """The result of one chunk."""
        return f"{self.folder}/chunks/{name}"

    @property
    def journal(self) -> Path:
        """Folder of the journal, which is cut into segments."""
        return Path(self.folder) / "journal"

    @property
    def fallback(self) -> Path:
        """Folder of the journal of the letter fallback (`qa.fallback`), cut into segments like the other one."""
        return Path(self.folder) / "fallback"

    def decoding(self, chunk: str) -> Path:
        """Notes of the images that the job of a chunk is decoding; `chunk` is its name, such as 3-of-8."""
        return Path(self.folder) / "decoding" / f"{chunk}.jsonl"

    @property
    def asked_again(self) -> Path:
        """Marker: when a command last let the next run ask again; an input of the merge, so that it merges anew."""
        return Path(self.folder) / "asked_again.json"

    def let_merge_run(self) -> None:
        """Give the merge a reason to run, so that Snakemake makes the missing chunk results; the final file stays."""
        write_json(self.asked_again, {"time": time.time()})

    @property
    def forgotten(self) -> Path:
        """Folder of what `forget` last moved aside."""
        return Path(self.folder) / "forgotten"


def journal_segment(journal: Path, index: int) -> Path:
    """One segment of a journal's folder."""
    return journal / f"{index:04d}.jsonl"


def journal_segments(journal: Path) -> list[Path]:
    """All segments that a journal's folder has, in their order."""
    return sorted(journal.glob("*.jsonl"))
