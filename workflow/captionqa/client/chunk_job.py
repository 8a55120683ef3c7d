"""A chunk's job: what it needs, and the result that it writes."""

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captionqa.client.chunk_result import FORMAT
from captionqa.config.config import ClientConfig
from captionqa.config.settings import AnswerSettings, fingerprint
from captionqa.files import atomic_writer, json_line
from captionqa.run.progress import Progress
from captionqa.server import endpoint


@dataclass(frozen=True)
class ChunkJob:
    """What a chunk needs: its items, where answers go, and the settings that decide them."""

    name: str
    items: Path
    result: Path
    journal: Path
    progress: Path
    server: Path
    dataset: Path
    settings: AnswerSettings
    client: ClientConfig
    lease_timeout_s: float
    trust_env: bool

    def write_result(self, started: float, progress: Progress, concurrency: int, lines: list[dict[str, Any]]) -> None:
        """Write the lines of all items, sorted, below a header; raises OSError.

        `started` is in seconds since the epoch, `concurrency` the requests in flight that the job came to.
        """
        header = {
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
        with atomic_writer(self.result) as file:
            file.write(json_line(header))
            file.writelines(map(json_line, sorted(lines, key=lambda line: line["id"])))
