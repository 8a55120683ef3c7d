"""Process identity: which process a PID means, told by when that process started."""

from pathlib import Path


def process_start(pid: int) -> int:
    """When a process started, in clock ticks after the machine's start: what no change of the clock can change.

    Raises OSError where there is no such process.
    """
    return int(_process_stat(pid)[19])


def same_process(pid: int, started: int) -> bool:
    """Whether the process that had this PID and `process_start` still lives."""
    try:
        return process_start(pid) == started and _process_stat(pid)[0] not in "ZX"
    except OSError:
        return False


def _process_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; before them is the name, which may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
