"""The revision of a model: which version of its weights a server has loaded."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from captionqa.config.model_config import ModelConfig, ServerConfig
from captionqa.config.model_versions import ModelVersion, source
from captionqa.config.server_options import named_paths, server_options
from captionqa.config.vllm_options import option_value

WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.gguf")
#: Files beside the weights that decide what a model says.
CONFIGURATION = (
    *("config.json", "generation_config.json", "adapter_config.json", "*processor_config.json", "chat_template*"),
    *("*.jinja", "*tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model"),
    *("*.tiktoken", "*.py"),
)
DEFAULT_REVISION = "main"
COMMIT = re.compile("[0-9a-f]{40}")
#: Weights of up to this many bytes are read whole.
READ_WHOLE_BYTES = 16_000_000
#: Of larger weights this many blocks are read, spread evenly over all files: training changes all or most of them.
#: 512 blocks take less than a second from a network file system, and a copy of the same files gives the same digest.
SAMPLES = 512
SAMPLE_BYTES = 4096


def model_revision(path: str, extra_args: Sequence[str], env: Mapping[str, str]) -> str | None:
    """An id of the model's version; None where there is none or it cannot be read.

    For a hub id it is the commit in the hub's cache on this machine, found through the server's arguments `extra_args`
    (--revision, --download-dir) and variables `env`. For a local folder it is `local-`, a digest of config.json and of
    the names and sizes of the weight files, and a digest of the contents: of the configuration's files the whole, of
    large weights samples, since reading these would take as long as loading them. Times of files do not count.
    """
    try:
        return _folder_revision(Path(path)) if Path(path).is_dir() else _hub_commit(path, extra_args, env)
    except (OSError, ValueError):
        return None


def started_version(path: str, server: ServerConfig) -> ModelVersion:
    """The version of a model that a server with these settings loads from the path."""
    options = server_options(server)
    return {
        "source": path,
        "options": options,
        "files": _named_files(options),
        "revision": model_revision(path, server.extra_args, server.env),
        "root": None,
    }


def existing_version(model: ModelConfig, root: str | None = None) -> ModelVersion:
    """What is known of the model of an existing server, which says that it serves `root`."""
    named = source(model.path, model.url, model.served_model_name)
    return {"source": named, "options": None, "files": {}, "revision": None, "root": root}


def _hub_commit(model: str, extra_args: Sequence[str], env: Mapping[str, str]) -> str | None:
    revision = option_value(extra_args, "--revision") or DEFAULT_REVISION
    for cache in _caches(extra_args, {**os.environ, **env}):
        folder = cache / f"models--{model.replace('/', '--')}"
        if (folder / "refs" / revision).is_file():
            return (folder / "refs" / revision).read_text(encoding="utf-8").strip()
        if (folder / "snapshots" / revision).is_dir():  # the revision is a commit
            return revision
    return revision if COMMIT.fullmatch(revision) else None


def _folder_revision(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=12)
    config = folder / "config.json"
    digest.update(config.read_bytes() if config.is_file() else b"")
    for file in _matching(folder, WEIGHTS):
        digest.update(f"\0{file.name}\0{file.stat().st_size}".encode("utf-8", "surrogateescape"))
    return f"local-{digest.hexdigest()}-{_content_digest(folder)}"


def _content_digest(folder: Path) -> str:
    """A digest of the names and the contents of a model's or an adapter's files."""
    weights = list(_matching(folder, WEIGHTS))
    total = sum(file.stat().st_size for file in weights)
    digest = hashlib.blake2b(digest_size=6)
    for file in _matching(folder, CONFIGURATION):
        _add(digest, file, samples=None)
    for file in weights:
        share = file.stat().st_size * SAMPLES // max(total, 1)
        _add(digest, file, samples=None if total <= READ_WHOLE_BYTES else max(2, share))
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, path: Path, samples: int | None) -> None:
    """Add a file's name and content to a digest; with `samples` this many blocks, from the first to the last."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(f"\0{path.name}\0{size}\0".encode("utf-8", "surrogateescape"))
        if samples is None or size <= samples * SAMPLE_BYTES:
            digest.update(file.read())
            return
        for number in range(samples):
            digest.update(os.pread(file.fileno(), SAMPLE_BYTES, (size - SAMPLE_BYTES) * number // (samples - 1)))


def _named_files(options: Mapping[str, str]) -> dict[str, str]:
    """{path: digest} of the files and folders that the options name; those that cannot be read are left out."""
    found = {}
    for name in (path for option, value in options.items() for path in named_paths(option, value)):
        digest = hashlib.blake2b(digest_size=6)
        path = Path(name).expanduser()
        try:
            if path.is_file():
                _add(digest, path, samples=SAMPLES)
                found[name] = digest.hexdigest()
            elif path.is_dir():
                found[name] = _content_digest(path)
        except (OSError, ValueError):  # no path but some other value, or a file of another machine
            continue
    return found


def _matching(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted({file for pattern in patterns for file in folder.glob(pattern) if not file.is_dir()})


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
