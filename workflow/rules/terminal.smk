# What of Snakemake's own messages reaches the terminal. Its log file has all of them, and so has the terminal with
# --verbose. The filters are added here and not by a logger plugin, so that they hold with every profile.
import logging
import re

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import logger as snakemake_logger
from snakemake_interface_logger_plugins.common import LogEvent

#: A warning about a sentinel that is made anew, which sounds like a loss.
NO_BACKUP = "no backup found"
VERBOSE = workflow.output_settings.verbose
DRY_RUN_ENDS = "This was a dry-run"
#: What Snakemake says at the end of a run that failed; captionqa's own block says more.
FAILED_RUN = ("Exiting because a job execution failed", "At least one job did not complete", "Cancelling snakemake")
#: Rules that make no file of the results.
SERVER_RULES = ("start_server", "release", "default", "all")
#: Rules without which a run is complete; its end says what became of their pages.
PAGE_RULES = ("page", "page_of_all")
#: How the process of a job ended.
PROCESS_END = re.compile(
    r"CalledProcessError in file .*\n.*((?:died with|returned non-zero exit status) .*)$", re.DOTALL
)


class JobErrors(logging.Filter):
    """Notes which jobs failed, and when a dry run or a run with nothing to do ends. Passes every record."""

    def __init__(self):
        super().__init__()
        #: {Snakemake's number of a job: the record of its failure}, without those that succeeded when tried again.
        self.records = {}
        self._process_ends = {}

    def filter(self, record):
        event, text = getattr(record, "event", None), record.getMessage()
        if event == LogEvent.JOB_ERROR:
            record.process_end = self._process_ends.pop(record.thread, "")
            self.records[record.jobid] = record
            tell_failed_job(record)
        elif event == LogEvent.JOB_FINISHED:
            self.records.pop(record.job_id, None)
        elif found := PROCESS_END.search(text):
            self._process_ends[record.thread] = found[1]
        elif text == NOTHING_TO_BE_DONE_MSG:
            print_nothing_to_do()
        elif text.startswith(DRY_RUN_ENDS):
            print_dry_run()
        return True

    def unexplained(self, explained_logs):
        """What is known of each failed job that did not store its own error, with the end of its log."""
        for record in self.records.values():
            if not explained_logs & set(record.log):
                yield "\n".join(self._lines(record))

    @staticmethod
    def _lines(record):
        from captionqa.server.slurm import sbatch_fault

        ended = record.process_end or sbatch_fault(str(record.rule_msg or ""))
        yield f"a job of {record.rule_name} failed" + (f": {ended}" if ended else "")
        for name, value in record.aux.items():
            yield f"  {name}: {value}"
        for log in record.log:
            yield f"  log: {log}"
            if Path(log).exists():
                yield from (f"    {line}" for line in Path(log).read_text(errors="replace").splitlines()[-10:])


class Chatter(logging.Filter):
    """Keeps off the terminal what only Snakemake's log needs: all but warnings, errors and the counts of a dry run."""

    def __init__(self, handler):
        super().__init__()
        self._handler = handler
        self._executing = self._counted = False

    def filter(self, record):
        event, text = getattr(record, "event", None), record.getMessage()
        self._executing |= event == LogEvent.WORKFLOW_STARTED
        if not self._executing:  # such as --unlock and --report
            return True
        if record.levelno < logging.WARNING:
            counts = workflow.dryrun and event == LogEvent.RUN_INFO and not self._counted
            self._counted |= counts
            return counts
        if DRIVER is None:  # no block at the end will say it
            return True
        told = event == LogEvent.JOB_ERROR or PROCESS_END.search(text) or any(part in text for part in FAILED_RUN)
        if not told and NO_BACKUP not in text:
            show_lines(self._handler.format(record))  # above the live area, where there is one
        return False


def show_lines(text):
    from captionqa.driver import terminal

    terminal.show_lines(text)


def tell_failed_job(record):
    """Say at once that a job failed where the run goes on; else the block at the end follows in a moment."""
    from captionqa.driver.failure_report import stored_reasons
    from captionqa.driver.terminal import print_message

    if DRIVER is None or DRIVER.stopped_by or record.rule_name in PAGE_RULES:
        return
    job = next((job for job in list(workflow.scheduler.running) if job.jobid == record.jobid), None)
    if job is not None and job.restart_times >= job.attempt:
        follows = "it is tried again"
    elif workflow.scheduler.keepgoing:
        follows = "the others go on"
    else:
        return
    reasons = [reason for log, reason in stored_reasons(RUN_LAYOUT).items() if log in record.log]
    why = "".join(f": {reason}" for reason in reasons)
    print_message(f"a job of {record.rule_name} failed{why}\n  {follows}; log: {', '.join(record.log)}")


def print_nothing_to_do():
    from captionqa.driver.run_end import RunEnd, nothing_to_do

    nothing_to_do(CONFIG, RunEnd(seconds=0, config_path=CONFIG_PATH)).show()


def print_dry_run():
    """The last sentences of a dry run: what was found, what it would ask, and what smaller images would save."""
    from captionqa.client.pending_requests import count_requests
    from captionqa.driver.dry_run import PlannedWork, dry_run_text
    from captionqa.driver.pixel_savings import dry_run_savings
    from captionqa.driver.terminal import print_message

    try:
        check_data()
    except (CaptionqaError, OSError) as error:
        refuse(error)
    tell_plan()

    jobs = list(workflow.dag.needrun_jobs(exclude_finished=False))
    starts = {job.wildcards.model for job in jobs if job.rule.name == "start_server"}
    models = []
    for model in MODELS:
        chunks = [job for job in jobs if job.rule.name in CHUNK_RULES and asked_model(job) == model]
        results = [str(job.output[0]) for job in chunks]
        requests = {
            one.data_set: count_requests(one, layout, results, PLANNED_MODELS[model].version)
            for one, layout in CONFIG.by_data_set(LAYOUTS[model])
        }
        settings, unnamed = CONFIG.models[model], requests.pop("", {})
        servers = settings.server.replicas if model in starts else 0
        models.append(PlannedWork(model, unnamed, servers, settings.url, requests))
    others = sum(job.rule.name not in SERVER_RULES for job in jobs)
    print_message(dry_run_text(models, others, CONFIG.servers))
    for one, layout in CONFIG.by_data_set(RUN_LAYOUT):
        pending = models[0].named.get(one.data_set, models[0].pending)
        of_first = {task: count.requests for task, count in pending.items()}
        if savings := dry_run_savings(one, layout, of_first):
            print_message(f"{one.data_set}: {savings}" if one.data_set else savings)


if workflow.is_main_process:
    JOB_ERRORS = JobErrors()
    snakemake_logger.addFilter(JOB_ERRORS)
    for handler in snakemake_logger.handlers:
        if handler.name == "DefaultStreamHandler" and not VERBOSE:
            handler.filters.insert(0, Chatter(handler))
