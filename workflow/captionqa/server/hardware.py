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
    try:
        chosen = [*query, f"--id={visible}"] if visible else query
        listed = subprocess.run(chosen, capture_output=True, text=True, timeout=TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    names = Counter(listed.splitlines()[:gpus])
    return ", ".join(f"{count} x {name.strip()}" for name, count in names.items()) or None
