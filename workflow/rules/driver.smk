# The driver's hooks: what the main process does before and after the jobs of a run.
import os
import time
from urllib.parse import urlsplit

from captionqa.server.slurm_ended_clients import EndedClients

#: When this run began: before its data are scanned.
STARTED = time.monotonic()
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
#: The rules that send requests, with the task of each.
CHUNK_RULES = {"caption_chunk": "captions", "answer_chunk": "qa", "judge_chunk": "judge"}
#: The jobs of this run that Slurm ended.
ENDED_CLIENTS = EndedClients()
#: What holds this run together, once it has begun.
DRIVER = None
#: The configuration as a command names it.
CONFIG_PATH = os.path.relpath((workflow.overwrite_configfiles or ["config/config.yaml"])[-1])

if workflow.is_main_process:
    # Ctrl-C reaches all processes of the terminal. Jobs ignore it: the driver releases the lease, and they end in order.
    shell.prefix("trap '' INT; ")


def limit_chunk_jobs():
    """Let as many chunk jobs run at a time as make whole groups of jobs that keep together.

    One more would ask about the images of the next chunk alone, and push those of this one out of the server's cache.
    """
    slots = workflow.global_resources["_cores" if workflow.nodes is None else "_nodes"].value
    files = max(
        sum(one.files_together(layout.has_questions_by_image()).values())
        for one, layout in CONFIG.by_data_set(RUN_LAYOUT)
    )
    if slots and files > 1 and slots > files:
        workflow.register_resource("chunk_slots", slots - slots % files)


if workflow.is_main_process:
    limit_chunk_jobs()


def check_data():
    """Raise CaptionqaError where the data are such that no run may begin; a dry run ends by it too."""
    from captionqa.dataset.plan import check_plans

    check_plans(CONFIG, RUN_LAYOUT)
    if CONFIG.export.captions:
        from captionqa.export.export import check_exports

        check_exports(CONFIG, RUN_LAYOUT)


def begin_run():
    from captionqa.dataset.final_files import items_to_do
    from captionqa.driver.driver import Driver
    from captionqa.driver.terminal import print_message
    from captionqa.server.client_job_times import ClientJobClock
    from captionqa.server.slurm_client_jobs import LostJobs
    from captionqa.server.slurm_waiting_clients import WaitingClients

    global DRIVER, PLANNED, CLIENT_JOBS
    PLANNED = time.monotonic()
    executor, lost_jobs = slurm_executor(), LostJobs()
    CLIENT_JOBS = None if executor is None else ClientJobClock(executor.run_uuid, CHUNK_RULES)
    if executor is not None:
        waiting_clients = WaitingClients(executor.run_uuid)
        mend_executor(executor, ENDED_CLIENTS)

    def check_jobs():
        """Why the run has to stop; None while it may go on."""
        scheduler = workflow.scheduler
        if scheduler.failed and scheduler.running and not scheduler.keepgoing:
            return "a job failed, so the others are stopped too (--keep-going would let them finish)"
        if executor is not None:
            report_lost_jobs(executor, lost_jobs)
            CLIENT_JOBS.note()
            return waiting_clients.check()
        return None

    DRIVER = Driver(CONFIG, RUN_LAYOUT, check_jobs, interrupt=workflow.non_local_exec, in_place=not VERBOSE)
    chunks = [job for job in workflow.dag.needrun_jobs() if job.rule.name in CHUNK_RULES]
    running = {(CONFIG.of_data_set(job.wildcards.data_set).data_set, CHUNK_RULES[job.rule.name]) for job in chunks}
    try:
        check_data()
        if CONFIG.audit.stop_on:
            audit_first(running)
        if executor is not None:
            try_client_jobs(executor)
        server_needed = {model: needs_server_of(model, chunks) for model in MODELS}
        for model in MODELS:
            if server_needed[model]:
                check_executor(model)
        DRIVER.begin(items_to_do(CONFIG, RUN_LAYOUT), server_needed, slurm_runs(executor, server_needed))
        for model, planned in PLANNED_MODELS.items():
            planned.save(LAYOUTS[model])  # the jobs read it; only now, since a dry run must change nothing
    except (CaptionqaError, OSError) as error:
        refuse(error)
    tell_plan()
    if chunks and not any(server_needed.values()):
        print_message("no request is left to send, so no server starts")
    for warning in warnings():
        print_message(f"WARNING: {warning}", "yellow")


def tell_plan():
    """Say what the plan found in the data, if there is something to do with it."""
    from captionqa.driver.summary import plan_line, plan_notes
    from captionqa.driver.terminal import print_message

    if plan.cache_info().currsize:
        for text in (plan_line(CONFIG, RUN_LAYOUT), *plan_notes(CONFIG, RUN_LAYOUT)):
            print_message(text)


def needs_server_of(model, chunks):
    """Whether one of these chunk jobs may have a request to send to a model."""
    from captionqa.client.pending_requests import needs_server

    results = [str(job.output[0]) for job in chunks if asked_model(job) == model]
    return needs_server(CONFIG, LAYOUTS[model], results, PLANNED_MODELS[model].version)


def asked_model(job):
    """The model that a chunk job asks."""
    return JUDGE if job.rule.name == "judge_chunk" else job.wildcards.model


def audit_first(running):
    """Audit the data of the tasks that have chunks to run, by data set, before any server starts."""
    from captionqa.dataset.audit import audit
    from captionqa.driver.terminal import print_message

    if audited_tasks := [(data_set, task) for data_set, task in running if task != "judge"]:
        audited = audit(CONFIG, RUN_LAYOUT, audited_tasks)
        print_message(audited.text())
        audited.check(CONFIG.audit.stop_on)


def warnings():
    from captionqa.driver.working_folder import sharing_warning

    if warning := sharing_warning(Path.cwd()):
        yield warning
    if not workflow.non_local_exec:
        return
    for name, model in CONFIG.models.items():
        if model.url and urlsplit(model.url).hostname in LOCAL_HOSTS:
            yield (
                f"models.{name}.url is {model.url}, which on another node is that node itself; name the server's host."
            )
    if getattr(workflow.executor_settings, "status_command", None) == "sacct":
        yield (
            "with slurm-status-command: sacct the executor waits for ever for a job that somebody else cancels "
            "(captionqa notices after some minutes); squeue does not have that fault."
        )


def end_run(failed=False):
    """End all that the run started, then show how it ended."""
    from captionqa.driver.run_end import RunEnd, done, not_done
    from captionqa.driver.summary import page_rows
    from captionqa.driver.terminal import print_message

    try:
        DRIVER.cancel() if failed else DRIVER.end()
    except CaptionqaError as error:
        print_message(str(error))
    seconds = time.monotonic() - STARTED
    notes = list(end_notes(seconds, failed and DRIVER.stopped_by is None))
    end = RunEnd(
        seconds=seconds,
        config_path=CONFIG_PATH,
        log=", ".join(workflow.logger_manager.get_logfile()),
        stopped_by=DRIVER.stopped_by,
        notes=notes,
        # after the verdict, which it shows
        page=page_rows(CONFIG, RUN_LAYOUT, time.time() - seconds, not failed, CONFIG_PATH),
    )
    (not_done if failed else done)(CONFIG, end).show()


def end_notes(seconds, failed):
    """What else is said at the end: jobs that Slurm ended, or that failed without a word, and where the time went."""
    from captionqa.driver.failure_report import stored_reasons
    from captionqa.driver.verdict import run_verdict

    yield from ENDED_CLIENTS.messages()
    if failed:
        yield from JOB_ERRORS.unexplained(stored_reasons(RUN_LAYOUT).keys())
    run = (time.time() - seconds, time.time())
    try:
        jobs = None if CLIENT_JOBS is None else CLIENT_JOBS.times()
        verdict = run_verdict(CONFIG, RUN_LAYOUT, run, PLANNED - STARTED, jobs)
    except OSError as error:  # a file system that fails for a moment must not fail a complete run
        verdict = f"where the time went is not known: {error}"
    if verdict:
        yield verdict
