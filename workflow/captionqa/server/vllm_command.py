"""The server's command line and environment, and what the end of its log means."""

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from captionqa import CHECKOUT, WORKFLOW
from captionqa.config import media_folder
from captionqa.config.config import ServerConfig
from captionqa.errors import ConfigError, ServerStartError
from captionqa.server.key_guard import KEY_VARIABLE, KeyGuard

SERVER_ENVIRONMENT = ".venv-vllm"
CPU_MARKER = ".installed-cpu"
API_SERVER = ["-m", "vllm.entrypoints.openai.api_server"]
TAIL_BYTES, TAIL_LINES = 32_768, 25
#: How the supervisor begins what it says to the log when it starts a server.
GENERATION_START = "starting generation"
_FETCH_FIRST = (
    "The model is not on this disk and its hub cannot be used from the server's node. Fetch it once where the internet "
    "is, with the same HF_HOME (and HF_TOKEN for a gated model): `hf download {model}`; or set the model's path to a "
    "local folder."
)
#: What to tell the user when a line at the end of a server's log matches; the first match wins.
_ADVICE = (
    (r"gated repo|401 Client Error|403 Client Error|Access to model .* is restricted", _FETCH_FIRST),
    (
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|couldn't connect to|is not a valid model "
        r"identifier|not a local folder|NameResolutionError|Repository Not Found",
        _FETCH_FIRST,
    ),
    (
        r"out of memory|No available memory for the cache blocks|Free memory on device|KV cache.*larger than",
        "The server ran out of memory: lower server.max_model_len, or ask for more GPUs and raise "
        "server.tensor_parallel_size.",
    ),
    (
        r"max_model_len \(.*(greater|larger|exceeds)|larger than the (maximum|derived)",
        "server.max_model_len is more than the model allows.",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device",
        "vLLM sees no NVIDIA GPU on this machine: run it where one is, or install the CPU build with "
        "`make setup VLLM=cpu`.",
    ),
    (r"unrecognized arguments", "server.extra_args holds an option that this server does not know."),
    (r"No module named|ModuleNotFoundError", "The server's environment is not whole: run `make setup` again."),
)
_PORT_TAKEN = re.compile(r"address already in use|Errno 98", re.IGNORECASE)


def resolve(command: Sequence[str] | None) -> list[str]:
    """The command that starts the server: the configured one, else what the set-up or the environment has.

    Raises ServerStartError where there is none.
    """
    if command:
        return list(command)
    python = CHECKOUT / SERVER_ENVIRONMENT / "bin" / "python"
    if python.exists():
        return [str(python), *API_SERVER]
    conda = Path(os.environ.get("CONDA_PREFIX", "/nonexistent")) / "bin"
    if (conda / "vllm").exists():
        return [str(conda / "python"), *API_SERVER]
    if found := shutil.which("vllm"):
        return [found, "serve"]
    raise ServerStartError(
        f"No vLLM was found ({python.parents[1]}, the active conda environment, PATH); run `make setup`, or set "
        "server.command in the configuration."
    )


def check_build(settings: ServerConfig, gpus: int) -> None:
    """Raise ConfigError where a job that holds GPUs would run the CPU build that `make setup` installed."""
    cpu_build = (CHECKOUT / SERVER_ENVIRONMENT / CPU_MARKER).exists()
    if gpus and cpu_build and not settings.command and not settings.allow_cpu:
        raise ConfigError(
            f"the server's job asks for {gpus} GPUs, but {SERVER_ENVIRONMENT} holds vLLM's CPU build; run "
            "`make setup VLLM=gpu` (or set server.allow_cpu to waste them)."
        )


def arguments(settings: ServerConfig, model_path: str, served_name: str, host: str, port: int) -> list[str]:
    """vLLM's arguments for a model's `server` settings."""
    path = Path(model_path)
    argv = [
        "--model",
        str(path.resolve()) if path.is_dir() else model_path,
        "--served-model-name",
        served_name,
        "--host",
        host,
        "--port",
        str(port),
        "--tensor-parallel-size",
        str(settings.tensor_parallel_size),
        "--dtype",
        settings.dtype,
        "--limit-mm-per-prompt",
        json.dumps({"image": settings.limit_images_per_prompt, "video": 0}),
        # sampling is the client's business: the model's own generation config would add its own on top
        "--generation-config",
        "vllm",
        "--disable-uvicorn-access-log",
        "--middleware",
        f"{KeyGuard.__module__}.{KeyGuard.__qualname__}",
    ]
    if settings.max_model_len is not None:
        argv += ["--max-model-len", str(settings.max_model_len)]
    folder = settings.allowed_local_media_path
    if folder and Path(folder).is_dir():  # where the server's node lacks it, vLLM would refuse images sent as bytes too
        argv += [media_folder.OPTION, folder]
    return argv + list(settings.extra_args)


def environment(settings: ServerConfig, key: str) -> dict[str, str]:
    """The server's environment variables; the key travels here and never in argv."""
    wanted = {**os.environ, "PYTHONUNBUFFERED": "1", **settings.env}
    modules = [str(WORKFLOW), *filter(None, [wanted.get("PYTHONPATH")])]
    return {**wanted, "PYTHONPATH": os.pathsep.join(modules), KEY_VARIABLE: key}


def tail(log: Path) -> str:
    """The last lines of a log, or an empty string."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:])
    except OSError:
        return ""


def port_was_taken(log_end: str) -> bool:
    """Whether the last server in the log found its port in use."""
    return bool(_PORT_TAKEN.search(log_end.rpartition(GENERATION_START)[2]))


def advice(log_end: str, model: str) -> str:
    """What the end of a failed server's log means for the user, or an empty string."""
    for pattern, text in _ADVICE:
        if re.search(pattern, log_end, re.IGNORECASE):
            return text.format(model=model)
    return ""
