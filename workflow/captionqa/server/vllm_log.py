"""What the end of a server's log says about why the server did not start."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from captionqa.config.vllm_options import is_given

#: The most that `tail` reads of a log.
TAIL_BYTES = 32_768
TAIL_LINES = 25
#: The supervisor's first words in the log for each generation.
GENERATION_START = "starting generation"
_FETCH_FIRST = (
    "The model is not on this disk and its hub cannot be used from the server's node. Fetch it once where the internet "
    "is, with the same HF_HOME (and HF_TOKEN for a gated model): `hf download {model}`; or set the model's path to a "
    "local folder."
)
#: (pattern of a line at the end of a log, what the user should do); the first match wins.
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
    (
        r"No module named|ModuleNotFoundError|PackageNotFoundError",
        "The server's environment is not whole: run `make setup` again.",
    ),
)
_UNKNOWN_OPTIONS = re.compile(r"unrecognized arguments: (.*)")
_PORT_TAKEN = re.compile(r"address already in use|Errno 98", re.IGNORECASE)


def tail(log: Path) -> str:
    """The last lines of a log; empty where it cannot be read."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:])
    except OSError:
        return ""


def port_was_taken(log_end: str) -> bool:
    """Whether the log's last generation found its port in use."""
    return bool(_PORT_TAKEN.search(log_end.rpartition(GENERATION_START)[2]))


def unknown_options(log_end: str) -> set[str]:
    """The options that the log's last generation did not know."""
    found = _UNKNOWN_OPTIONS.findall(log_end.rpartition(GENERATION_START)[2])
    words = [word.partition("=")[0] for line in found for word in line.split()]
    return {word for word in words if word.startswith("--")}


def advice(log_end: str, model: str, given: Sequence[str] = ()) -> str:
    """What the user should do about a server that failed; `given` are the arguments that the user gave it.

    Empty where the log shows no known one.
    """
    needed = sorted(option for option in unknown_options(log_end) if not is_given(given, option))
    if needed:
        return (
            f"The server is too old: captionqa needs one that knows {', '.join(needed)}. Run `make setup`, or set "
            "server.command to a newer vLLM."
        )
    for pattern, text in _ADVICE:
        if re.search(pattern, log_end, re.IGNORECASE):
            return text.format(model=model)
    return ""
