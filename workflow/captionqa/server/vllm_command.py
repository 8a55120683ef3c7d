"""The command line and the environment of vLLM's server."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from captionqa import CHECKOUT, WORKFLOW
from captionqa.config import media_folder
from captionqa.config.model_config import ServerConfig
from captionqa.errors import ConfigError, ServerStartError
from captionqa.server.key_guard import KEY_VARIABLE, KeyGuard

#: The folder in the checkout into which `make setup` installs vLLM.
SERVER_ENVIRONMENT = ".venv-vllm"
#: A file in that folder that marks the CPU build.
CPU_MARKER = ".installed-cpu"
#: vLLM's option for the hosts from which it fetches images and other media.
MEDIA_HOSTS_OPTION = "--allowed-media-domains"
#: No host's name; vLLM takes an empty list for "all of them".
NO_MEDIA_HOST = "none/"
#: `vllm serve`, by the Python of its environment.
SERVE = ("-m", "vllm.entrypoints.cli.main", "serve")


def resolve(command: Sequence[str] | None) -> list[str]:
    """The command that starts the server: the configured one, else vLLM's from the checkout, conda or PATH.

    Raises:
        ServerStartError: there is none.
    """
    if command:
        return list(command)
    python = CHECKOUT / SERVER_ENVIRONMENT / "bin" / "python"
    if python.exists():
        return [str(python), *SERVE]
    conda = Path(os.environ.get("CONDA_PREFIX", "/nonexistent")) / "bin"
    if (conda / "vllm").exists():
        return [str(conda / "python"), *SERVE]
    if found := shutil.which("vllm"):
        return [found, "serve"]
    raise ServerStartError(
        f"No vLLM was found ({python.parents[1]}, the active conda environment, PATH); run `make setup`, or set "
        "server.command in the configuration."
    )


def is_cpu_build(command: Sequence[str] | None) -> bool:
    """Whether the configured command, or the lack of one, starts vLLM's CPU build from `make setup`."""
    return not command and (CHECKOUT / SERVER_ENVIRONMENT / CPU_MARKER).exists()


def check_build(settings: ServerConfig, gpus: int) -> None:
    """Refuse vLLM's CPU build from `make setup` in a job with GPUs, which it would waste.

    Raises:
        ConfigError: the `server` settings would run it in a job with `gpus` GPUs.
    """
    if gpus and is_cpu_build(settings.command) and not settings.allow_cpu:
        raise ConfigError(
            f"the server's job asks for {gpus} GPUs, but {SERVER_ENVIRONMENT} holds vLLM's CPU build; run "
            "`make setup VLLM=gpu` (or leave them unused with server.allow_cpu: true)."
        )


def arguments(
    settings: ServerConfig, model_path: str, served_name: str, host: str, port: int, chosen: Sequence[str] = ()
) -> list[str]:
    """vLLM's arguments for a model's `server` settings, with those that captionqa has `chosen` for this job."""
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
        # the client's sampling settings decide; the model's own generation config would add to them
        "--generation-config",
        "vllm",
        # images come as data or as files of the media folder: the key is no way to have the node fetch an address
        MEDIA_HOSTS_OPTION,
        NO_MEDIA_HOST,
        "--disable-uvicorn-access-log",
        "--middleware",
        f"{KeyGuard.__module__}.{KeyGuard.__qualname__}",
    ]
    if settings.max_model_len is not None:
        argv += ["--max-model-len", str(settings.max_model_len)]
    folder = settings.allowed_local_media_path
    # vLLM rejects every image, even one sent as bytes, where its node lacks the folder
    if folder and Path(folder).is_dir():
        argv += [media_folder.MEDIA_PATH_OPTION, folder]
    return [*argv, *chosen, *settings.extra_args]


def environment(settings: ServerConfig, key: str) -> dict[str, str]:
    """The server's environment variables. The API key is passed here and never in the arguments."""
    wanted = {**os.environ, "PYTHONUNBUFFERED": "1", **settings.env}
    modules = [str(WORKFLOW), *filter(None, [wanted.get("PYTHONPATH")])]
    return {**wanted, "PYTHONPATH": os.pathsep.join(modules), KEY_VARIABLE: key}
