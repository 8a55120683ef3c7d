"""A chunk's job: what it needs, and the result that it writes."""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from captionqa.client.chunk_result import FORMAT, ChunkHeader, ResultLine, write_chunk
from captionqa.client.final_text import split_answer
from captionqa.client.memory_budget import PART_OF_JOB
from captionqa.client.text_figures import text_figures
from captionqa.config.client_config import ClientConfig
from captionqa.config.model_versions import ModelVersion
from captionqa.config.settings import AnswerSettings, fingerprint
from captionqa.run.progress import Progress
from captionqa.server import endpoint

if TYPE_CHECKING:  # few jobs need them, and all would feel the import
    from captionqa.client.question_captions import QuestionCaptions
    from captionqa.dataset.url_image import UrlImages


@dataclass(frozen=True)
class ChunkJob:
    """What a chunk needs: its items, where answers go, and the settings that decide them."""

    #: Such as 3-of-8.
    name: str
    #: The list of its items, a file of `ItemEntry` lines.
    items: Path
    #: Where its result goes.
    result: Path
    #: The folder of the journal, which all chunks of a final file share.
    journal: Path
    #: Where its progress goes.
    progress: Path
    #: The folder of the servers' endpoint files, their key and the driver's lease.
    server: Path
    #: The folder of the images.
    dataset: Path
    #: Their fingerprint is in the journal and in the result.
    settings: AnswerSettings
    client: ClientConfig
    #: The driver counts as gone once its lease has stood still for this long.
    lease_timeout_s: float
    #: Whether captionqa started the servers. Only those can prove themselves; only others are asked through proxies.
    own_servers: bool
    #: The version of the model that the run was planned with. Answers in the journal that another gave do not count.
    model_version: ModelVersion | None = None
    #: Fetches images at addresses; None where the configuration does not allow it.
    urls: "UrlImages | None" = None
    #: What its questions are asked with in place of their images; None where that are not captions.
    captions: "QuestionCaptions | None" = None
    #: Where it tells the jobs that ask about the same images how far it is; None for a job that goes at its own speed.
    position: Path | None = None
    #: The memory that Snakemake or Slurm grants to it, in MB.
    mem_mb: int = 16_000

    @property
    def pictures_mb(self) -> int:
        """The memory that its pictures may take until they are sent, in MB."""
        wanted = self.client.images.memory_mb
        return self.mem_mb // PART_OF_JOB if wanted == "auto" else wanted

    def write_result(self, started: float, progress: Progress, concurrency: int, lines: list[ResultLine]) -> None:
        """Write the lines of all items, sorted, below a header; raises OSError.

        `started` is in seconds since the epoch, `concurrency` the limit on requests in flight at the end.
        """
        header: ChunkHeader = {
            "format": FORMAT,
            "chunk": self.name,
            "fingerprint": fingerprint(self.settings),
            "settings": self.settings,
            "items": len(lines),
            "asked": progress.answered,
            "shared": progress.shared,
            "known": progress.reused,
            "failed": progress.failed,
            "started": started,
            "finished": time.time(),
            "concurrency": concurrency,
            "client": {"host": socket.gethostname(), "job": os.environ.get("SLURM_JOB_ID")},
            "servers": [endpoint.summary(entry) for entry in endpoint.read_all(self.server)],
        }
        by_id = sorted(lines, key=lambda line: line["id"])
        are_captions = "prompt" in self.settings
        write_chunk(self.result, header, map(_with_figures, by_id) if are_captions else by_id)


def _with_figures(line: ResultLine) -> ResultLine:
    """The line of a caption with the figures of its text, if it has one."""
    if "answer" not in line or not (text := split_answer(line["answer"])[1]):
        return line
    return {**line, "figures": text_figures(text)}
