"""The files through which the driver, the supervisors and the clients of one model's servers talk to each other.

`captionqa.server.lifecycle` says who writes and who reads each of them.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerFiles:
    """Paths in the server folder of one model; the folder may hold the Snakemake wildcard `{model}`."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run.json"

    @property
    def lease(self) -> Path:
        return self.folder / "lease.json"

    @property
    def lease_lock(self) -> Path:
        return self.folder / "lease.lock"

    @property
    def api_key(self) -> Path:
        return self.folder / "api_key"

    @property
    def request(self) -> Path:
        return self.folder / "request.json"

    @property
    def handles(self) -> Path:
        return self.folder / "handles.json"

    @property
    def stopping(self) -> Path:
        return self.folder / "stopping"

    def endpoint(self, replica: int) -> Path:
        return self.folder / f"endpoint-{replica}.json"

    def endpoints(self) -> list[Path]:
        """The endpoint files that exist, in the order of their replicas."""
        return sorted(self.folder.glob("endpoint-*.json"), key=lambda path: int(path.stem.rpartition("-")[2]))

    def load_log(self, replica: int) -> Path:
        return self.folder / f"load-{replica}.jsonl"

    def load_logs(self) -> list[Path]:
        """The load logs that exist."""
        return sorted(self.folder.glob("load-*.jsonl"))

    @property
    def sentinel(self) -> Path:
        return self.folder / "ready.json"

    @property
    def live_folder(self) -> Path:
        return self.folder / "live"

    def live(self, task: str) -> Path:
        return self.live_folder / task

    @property
    def released_folder(self) -> Path:
        return self.folder / "released"

    def released(self, task: str) -> Path:
        return self.released_folder / f"{task}.json"
