"""The files through which the driver, the supervisors and the clients of one model's servers talk to each other.

`captionqa.server.lifecycle` says who writes and who reads each of them.
"""

import errno
import logging
import os
import stat
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from captionqa.errors import ConfigError
from captionqa.files import read_json

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerFiles:
    """Paths in the server folder of one model; the folder may hold the Snakemake wildcard `{model}`."""

    folder: Path

    def make_folder(self) -> None:
        """Make the folder, for this user alone whatever the umask and the folders above it allow.

        Raises:
            ConfigError: it belongs to another user, or cannot be closed to others.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self.folder.stat().st_uid != os.geteuid():
            raise ConfigError(
                f"{self.folder} belongs to another user, who could read the key in it; set another output_dir."
            )
        self.folder.chmod(0o700)
        if self.folder.stat().st_mode & WRITABLE_BY_OTHERS:
            raise ConfigError(
                f"the file system of {self.folder} lets other users write there, whatever its mode is set to; set "
                "another output_dir."
            )

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

    def live(self, task: str, data_set: str = "") -> Path:
        """The live marker of a task of a data set, which is written as in `captionqa.config.layout.Layout`."""
        return Path(f"{self.live_folder}{data_set}/{task}")

    def has_live_marker(self) -> bool:
        return any(path.is_file() for path in self.live_folder.rglob("*"))

    @property
    def released_folder(self) -> Path:
        return self.folder / "released"

    def released(self, task: str, data_set: str = "") -> Path:
        """As `live`: what says that a task of a data set needs no server any more."""
        return Path(f"{self.released_folder}{data_set}/{task}.json")


def read_own_json(path: Path) -> Any | None:
    """As `files.read_json`; what another user may have written counts as missing.

    The server folder is closed to other users. One who may write to a folder above it could still put another folder in
    its place, with links to files of ours that a group may write.
    """
    return read_json(path, _open_own)


def _open_own(path: str, flags: int) -> int:
    """Open a file that nobody else can have written, in a folder to which nobody else can have written.

    Raises:
        FileNotFoundError: others can have written it, or it is missing.
    """
    above = os.path.dirname(path)
    folder = os.open(above or ".", os.O_PATH | os.O_DIRECTORY)
    try:
        _check_own(above, folder)
        try:
            file = os.open(os.path.basename(path), flags | os.O_NOFOLLOW, dir_fd=folder)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            _warn_of_foreign_file(path, "is a link")
            raise FileNotFoundError(path) from error
    finally:
        os.close(folder)
    try:
        _check_own(path, file)
    except BaseException:
        os.close(file)
        raise
    return file


def _check_own(path: str, descriptor: int) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        _warn_of_foreign_file(path, f"belongs to user {found.st_uid}")
    elif found.st_mode & WRITABLE_BY_OTHERS:
        _warn_of_foreign_file(path, "can be written by other users")
    else:
        return
    raise FileNotFoundError(path)


@cache  # once for each file and not at each look
def _warn_of_foreign_file(path: str, why: str) -> None:
    log.warning("%s is ignored, since it %s; delete it or set another output_dir", path, why)
