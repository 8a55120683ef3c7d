"""The revision of a model: which of its versions a server has loaded."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captionqa.config.vllm_options import option_value

WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf")
DEFAULT_REVISION = "main"


def model_revision(path: str, server: Mapping[str, Any]) -> str | None:
    """What tells a model's version from others of the same name; None where nothing does, or it cannot be read.

    For a hub id the commit in the hub's cache on this machine, as the variables and the arguments (--revision,
    --download-dir) of the `server` settings choose it. For a local folder `local-` and a digest of its config.json
    and of the names and sizes of its weights: reading all of these would take as long as loading them.
    """
    try:
        return _folder_digest(Path(path)) if Path(path).is_dir() else _hub_commit(path, server)
    except (OSError, ValueError):
        return None


def _hub_commit(model: str, server: Mapping[str, Any]) -> str | None:
    wanted = option_value(server["extra_args"], "--revision") or DEFAULT_REVISION
    for cache in _caches(server["extra_args"], {**os.environ, **server["env"]}):
        folder = cache / f"models--{model.replace('/', '--')}"
        if (folder / "refs" / wanted).is_file():
            return (folder / "refs" / wanted).read_text(encoding="utf-8").strip()
        if (folder / "snapshots" / wanted).is_dir():  # a commit was asked for
            return wanted
    return None


def _folder_digest(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=12)
    config = folder / "config.json"
    digest.update(config.read_bytes() if config.is_file() else b"")
    for file in sorted(file for pattern in WEIGHTS for file in folder.glob(pattern)):
        digest.update(f"\0{file.name}\0{file.stat().st_size}".encode("utf-8", "surrogateescape"))
    return f"local-{digest.hexdigest()}"


def _caches(extra_args: Sequence[str], environment: Mapping[str, str]) -> list[Path]:
    """Where the hub's cache may be, in the order in which vLLM and huggingface_hub look."""
    home = environment.get("HF_HOME") or os.path.join(
        environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface"
    )
    named = (
        option_value(extra_args, "--download-dir"),
        environment.get("HF_HUB_CACHE"),
        environment.get("HUGGINGFACE_HUB_CACHE"),
        os.path.join(home, "hub"),
    )
    return [Path(cache).expanduser() for cache in named if cache]
