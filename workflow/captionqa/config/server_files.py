"""The files through which the driver, the supervisors and the clients of one model's servers talk to each other.

`captionqa.server.lifecycle` says who writes and who reads each of them.
"""

import logging
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from captionqa.errors import ConfigError
from captionqa.files import read_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerFiles:
    """Paths in the server folder of one model; the folder may hold the Snakemake wildcard `{model}`."""

    folder: Path

    def make_folder(self) -> None:
        """Make the folder, for this user alone whatever the umask and the folders above it allow.

        Raises:
            ConfigError: it belongs to another user.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.folder.stat().st_uid != os.geteuid():
            raise ConfigError(
                f"{self.folder} belongs to another user, who could read the key in it; set another output_dir."
            )
        self.folder.chmod(0o700)

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

    def generation_key(self, replica: int) -> Path:
        return self.folder / f"key-{replica}.json"

    def generation_keys(self) -> list[Path]:
        """The files of keys that exist."""
        return sorted(self.folder.glob("key-*.json"))

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


def read_own_json(path: Path) -> Any | None:
    """As `files.read_json`; a file of another user, who may have forged it, counts as missing.

    The server folder is closed to other users. One who may write to a folder above it could still replace it.
    """
    try:
        return read_json(path, _is_own)
    except PermissionError:
        if _is_own(os.fspath(path.parent), path.parent.stat().st_uid):
            raise
        return None


def _is_own(path: str, owner: int) -> bool:
    if owner == os.geteuid():
        return True
    _warn_of_foreign_file(path, owner)
    return False


@cache  # once for each file and not at each look
def _warn_of_foreign_file(path: str, owner: int) -> None:
    log.warning("%s is ignored, since it belongs to user %d; delete it or set another output_dir", path, owner)
