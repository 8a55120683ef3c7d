"""What a server computes on, in words that tell kinds of machines apart."""

import subprocess
from collections import Counter
from collections.abc import Sequence

#: NVIDIA's command that lists the GPUs of a job, a name a line.
QUERY = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
TIMEOUT_S = 20.0


def hardware(
    cores: int, is_cpu_build: bool, gpus: int, visible: str | None = None, query: Sequence[str] = QUERY
) -> str | None:
    """Such as `2 x NVIDIA A100-SXM4-80GB` or `CPU, 16 cores`; None where the GPU's name is not to be had.

    A server takes the first `gpus` of those that its job sees, or of those that CUDA_VISIBLE_DEVICES makes `visible`.
    """
    if is_cpu_build:
        return f"CPU, {cores} cores"
    names = Counter(_output([*query, f"--id={visible}"] if visible else query).splitlines()[:gpus])
    return ", ".join(f"{count} x {name.strip()}" for name, count in names.items()) or None


def _output(command: Sequence[str]) -> str:
    """What a command prints; empty where it fails, or has not ended after TIMEOUT_S."""
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        )
    except OSError:
        return ""
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()  # not waited for: with a broken GPU it ends for no signal, and this supervisor has to go on
        return ""
    return "" if process.returncode else output
