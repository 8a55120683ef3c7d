"""The revision of a model: which version of its weights a server has loaded."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from captionqa.config.vllm_options import option_value

WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf")
DEFAULT_REVISION = "main"


def model_revision(path: str, extra_args: Sequence[str], env: Mapping[str, str]) -> str | None:
    """An id of the model's version; None where there is none or it cannot be read.

    For a hub id it is the commit in the hub's cache on this machine, found through the server's arguments `extra_args`
    (--revision, --download-dir) and variables `env`. For a local folder it is `local-` and a digest of config.json and
    of the names and sizes of the weight files: reading these would take as long as loading them.
    """
    try:
        return _folder_digest(Path(path)) if Path(path).is_dir() else _hub_commit(path, extra_args, env)
    except (OSError, ValueError):
        return None


def _hub_commit(model: str, extra_args: Sequence[str], env: Mapping[str, str]) -> str | None:
    revision = option_value(extra_args, "--revision") or DEFAULT_REVISION
    for cache in _caches(extra_args, {**os.environ, **env}):
        folder = cache / f"models--{model.replace('/', '--')}"
        if (folder / "refs" / revision).is_file():
            return (folder / "refs" / revision).read_text(encoding="utf-8").strip()
        if (folder / "snapshots" / revision).is_dir():  # the revision is a commit
            return revision
    return None


def _folder_digest(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=12)
    config = folder / "config.json"
    digest.update(config.read_bytes() if config.is_file() else b"")
    for file in sorted(file for pattern in WEIGHTS for file in folder.glob(pattern)):
        digest.update(f"\0{file.name}\0{file.stat().st_size}".encode("utf-8", "surrogateescape"))
    return f"local-{digest.hexdigest()}"


def _caches(extra_args: Sequence[str], environment: Mapping[str, str]) -> list[Path]:
    """The folders that may be the hub's cache, in the order in which vLLM and huggingface_hub look for it."""
    home = environment.get("HF_HOME") or os.path.join(
        environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface"
    )
    candidates = (
        option_value(extra_args, "--download-dir"),
        environment.get("HF_HUB_CACHE"),
        environment.get("HUGGINGFACE_HUB_CACHE"),
        os.path.join(home, "hub"),
    )
    return [Path(cache).expanduser() for cache in candidates if cache]
