"""Process identity: a PID may be reused, so a process is known by its PID and its start time."""

from pathlib import Path


def process_start(pid: int) -> int:
    """The start time of a process in clock ticks since boot, which setting the clock does not change.

    Raises:
        OSError: there is no such process.
    """
    return int(_process_stat(pid)[19])


def same_process(pid: int, started: int) -> bool:
    """Whether the process with this PID and this `process_start` is still alive; a zombie is not."""
    try:
        return process_start(pid) == started and _process_stat(pid)[0] not in "ZX"
    except OSError:
        return False


def _process_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat (man 5 proc) from the state on. The name before them may hold any character."""
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
