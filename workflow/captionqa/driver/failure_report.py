"""The failure report at the end of a run: what failed, each reason once, and where to look."""

import shutil
from collections import Counter, defaultdict
from datetime import datetime

from captionqa.config.layout import Layout
from captionqa.errors import DiskFullError
from captionqa.files import out_of_inodes, read_json
from captionqa.page.run_end import FAULT
from captionqa.run.job_log import JobError
from captionqa.run.run_record import server_layouts
from captionqa.server import endpoint
from captionqa.server.server_log import TIME_FORMAT

#: The most logs that are named for one reason: chunks usually fail together.
LOGS_NAMED = 5
#: The most lines of an error's details that are shown, the last ones; the log has all.
DETAILS_SHOWN = 12
#: The job that fails where too many items failed.
GATE = "check_failures"
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
            by_reason[_reason(stored)].append(stored)
    return [*map(_message, by_reason.values()), *restarts(layout)]


def restarts(layout: Layout) -> list[str]:
    """Which servers of this run were restarted: how often, when, why, and where to look."""
    rows = []
    servers = [(each, server) for each in server_layouts(layout) for server in endpoint.read_all(each.server)]
    for of_model, server in servers:
        if server.restarts:
            last = server.restarts[-1]
            why = Counter(restart["reason"] for restart in server.restarts)
            reasons = "; ".join(f"{reason} ({count} times)" if count > 1 else reason for reason, count in why.items())
            times = "once, at" if last["number"] == 1 else f"{last['number']} times, the last time at"
            # in this machine's time zone and in the format of the server's log, to be searched for there
            at = datetime.fromisoformat(last["time"]).astimezone().strftime(TIME_FORMAT)
            rows.append(
                f"server {server.replica} was started again {times} {at}: {reasons}\n"
                f"    server's log: {of_model.server_log(server.replica)}"
            )
    return rows


def stored_reasons(layout: Layout) -> dict[str, str]:
    """{log: why its job failed} of the jobs of this run that said so."""
    stored: list[JobError | None] = [read_json(file) for file in layout.errors.glob("*.json")]
    return {error["log"]: error["reason"] for error in stored if error and "log" in error and "reason" in error}


def only_too_many_failures(layout: Layout) -> bool:
    """Whether nothing failed but the gate at the end: all final files are there."""
    return {file.stem for file in layout.errors.glob("*.json") if not file.stem.startswith(FAULT)} == {GATE}


def _reason(error: JobError) -> str:
    """What errors share that tell of one fault: the driver's own, such as of a dead server, and those of jobs."""
    return error.get("reason", error["error"].partition("\n")[0]).rstrip(".")


def _message(errors: list[JobError]) -> str:
    jobs = [error for error in errors if "name" in error] or errors  # the driver's adds nothing to a job's
    if len(jobs) == 1:
        details = jobs[0].get("details", "")
        if jobs[0].get("name") == GATE:
            return "\n".join(filter(None, (jobs[0]["reason"], details)))
        shown = details.splitlines()[-DETAILS_SHOWN:]
        return "\n".join([jobs[0]["error"], *(f"    {line}" for line in shown)])
    rows = [f"{len(jobs)} jobs failed: {_reason(jobs[0])}"]
    rows += [f"  {job['name']}, log: {job['log']}" for job in jobs[:LOGS_NAMED]]
    if len(jobs) > LOGS_NAMED:
        rows.append(f"  and {len(jobs) - LOGS_NAMED} more, logs beside these")
    # of each model whose jobs failed, once
    servers_logs = dict.fromkeys(job["server_log"] for job in jobs if "server_log" in job)
    rows += [f"  server's log: {log}" for log in servers_logs]
    return "\n".join(rows)
