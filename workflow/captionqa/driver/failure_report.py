"""The failure report at the end of a run: what failed, each reason once, and where to look."""

import shutil
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

from captionqa.config.layout import Layout
from captionqa.errors import DiskFullError
from captionqa.files import out_of_inodes, read_json
from captionqa.run.job_log import JobError
from captionqa.run.run_record import read_run_record
from captionqa.server import endpoint
from captionqa.server.server_log import TIME_FORMAT

#: The most logs that are named for one reason: chunks usually fail together.
LOGS_NAMED = 5
#: With less free space than this the disk counts as full.
FULL_BYTES = 2**20
#: With room for at most this many files the disk counts as full: jobs that failed have removed their temporary files.
FULL_INODES = 16


def failure_messages(layout: Layout) -> list[str]:
    """What failed in this run, each reason once, and which of its servers were restarted."""
    folder = layout.output_dir
    # then jobs could not store why they failed
    if out_of_inodes(folder, FULL_INODES):
        return [str(DiskFullError(folder, out_of_inodes=True))]
    if shutil.disk_usage(folder).free < FULL_BYTES:
        return [str(DiskFullError(folder))]
    by_reason: dict[str, list[JobError]] = defaultdict(list)
    for file in sorted(layout.errors.glob("*.json")):
        stored: JobError | None = read_json(file)
        if stored:
            by_reason[stored.get("reason", stored["error"])].append(stored)
    return [_message(reason, jobs, layout) for reason, jobs in by_reason.items()] + restarts(layout)


def restarts(layout: Layout) -> list[str]:
    """Which servers of this run were restarted: how often, when, why, and where to look."""
    run = read_run_record(layout.server)
    rows = []
    for server in endpoint.read_all(layout.server) if run and run["server_needed"] else ():
        if server.restarts:
            last = server.restarts[-1]
            why = Counter(restart["reason"] for restart in server.restarts)
            reasons = "; ".join(f"{reason} ({count} times)" if count > 1 else reason for reason, count in why.items())
            times = "once, at" if last["number"] == 1 else f"{last['number']} times, the last time at"
            # in this machine's time zone and in the format of the server's log, to be searched for there
            at = datetime.fromisoformat(last["time"]).astimezone().strftime(TIME_FORMAT)
            rows.append(
                f"server {server.replica} was started again {times} {at}: {reasons}\n"
                f"    server's log: {layout.server_log(server.replica)}"
            )
    return rows


def _message(reason: str, jobs: list[JobError], layout: Layout) -> str:
    if len(jobs) == 1:
        return jobs[0]["error"]
    rows = [f"{len(jobs)} jobs failed: {reason}"]
    rows += [f"  {job['name']}, log: {job['log']}" for job in jobs[:LOGS_NAMED]]
    if len(jobs) > LOGS_NAMED:
        rows.append(f"  and {len(jobs) - LOGS_NAMED} more, logs beside these")
    if Path(layout.server_log()).exists():
        rows.append(f"  server's log: {layout.server_log()}")
    return "\n".join(rows)
