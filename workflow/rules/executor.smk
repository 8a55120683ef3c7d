# How jobs are submitted to Slurm, and fixes for Snakemake's Slurm executor. In the main process only.
import shlex
import sys
from importlib import metadata

EXECUTOR_MODULE = "snakemake_executor_plugin_slurm"


def separate_job_logs():
    """Give each run a log folder of its own, named like its jobs, and have the executor clean up only what is over.

    By itself it removes every empty log folder of the checkout when any run ends, even one that had nothing to do.
    Slurm then fails the pending jobs of the other runs, since the folder of a pending job's log is empty.
    """
    if EXECUTOR_MODULE not in sys.modules:  # Snakemake loads all executors that are installed
        return
    from captionqa.server.slurm_job_logs import remove_old_logs

    executor_class = sys.modules[EXECUTOR_MODULE].Executor
    set_up = executor_class.__post_init__

    def set_up_with_own_logs(executor, *arguments, **keywords):
        set_up(executor, *arguments, **keywords)
        executor.slurm_logdir /= executor.run_uuid

    def clean_old_logs(executor):
        settings = executor.workflow.executor_settings
        days = 0 if settings.keep_successful_logs else settings.delete_logfiles_older_than
        remove_old_logs(executor.slurm_logdir, days)

    executor_class.__post_init__ = set_up_with_own_logs
    executor_class.clean_old_logs = clean_old_logs


if workflow.is_main_process:  # before Snakemake makes the executor
    separate_job_logs()


def slurm_executor():
    """The executor that submits this run's jobs to Slurm, or None."""
    from captionqa.server.slurm_plugin import PLUGIN, check_plugin

    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    if workflow.executor_plugin.name != "slurm" or not jobs:
        return None
    executor = workflow.scheduler.get_executor(jobs[0])
    try:
        check_plugin(metadata.version(PLUGIN))  # before its internals are used, here and below
    except CaptionqaError as error:
        refuse(error)
    return executor


def check_executor(model):
    """Raise ConfigError for an executor whose scheduler captionqa has no launcher for, where a model needs a server."""
    from captionqa.errors import ConfigError

    name = workflow.executor_plugin.name
    if workflow.non_local_exec and name != "slurm" and not CONFIG.models[model].url:
        raise ConfigError(
            f"the executor {name!r} cannot start a server: use executor slurm or local, or start the server "
            f"yourself and name it with models.{model}.url."
        )


def slurm_runs(executor, server_needed):
    """How Slurm runs the jobs, by model; None where they run on this machine."""
    if executor is None:
        return None
    starts = {job.wildcards.model: job for job in workflow.dag.needrun_jobs() if job.rule.name == "start_server"}
    # a server is needed but no start is planned: another run's is up, and taking the lease will name that run
    return {model: slurm_run(executor, model, starts.get(model) if server_needed[model] else None) for model in MODELS}


def slurm_run(executor, model, start):
    """How Slurm runs a model's jobs, with the sbatch options that the executor makes for a job with the resources of
    `start`, the job that starts its server; None where none is to start."""
    run = {"name": executor.run_uuid} | ({} if model == MODEL else {"model": model})
    if start is None or CONFIG.models[model].url:
        return run
    from captionqa.server.slurm_resources import checked_gpus

    gpus = checked_gpus(CONFIG.models[model].server.tensor_parallel_size, start.resources)
    # equal options mean an equal server, which a driver may take over
    return run | {"options": sbatch_options(executor, start), "gpus": gpus}


def sbatch_options(executor, job):
    """The sbatch options that the executor makes for a job; the names of the job and of its log are placeholders.

    Raises ConfigError where the executor itself refuses the job's account or its slurm_extra.
    """
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string
    from snakemake_executor_plugin_slurm.validation import validate_slurm_extra
    from snakemake_interface_common.exceptions import WorkflowError

    try:
        validate_slurm_extra(job)
        account = next(executor.get_account_arg(job))
    except WorkflowError as error:
        raise would_not_run(job.rule.name, " ".join(str(error).split()))
    command = get_submit_command(
        job,
        {
            "run_uuid": "captionqa",
            "slurm_logfile": "captionqa",
            "comment_str": f"rule_{job.rule.name}",
            "account": account,
            "partition": executor.get_partition_arg(job),
            "workdir": workflow.workdir_init,
        },
        settings=workflow.executor_settings,
    )
    return shlex.split(command + set_gres_string(job))[1:]


def try_client_jobs(executor):
    """Raise ConfigError before a server is submitted if Slurm would not run one of the other jobs."""
    from captionqa.server import slurm

    jobs = {job.rule.name: job for job in workflow.dag.needrun_jobs() if not job.is_local}
    for rule, job in jobs.items():
        if reason := slurm.refusal(sbatch_options(executor, job)):
            raise would_not_run(rule, reason)


def would_not_run(rule, reason):
    """The error for jobs that Slurm or the executor refuses."""
    from captionqa.errors import ConfigError

    return ConfigError(
        f"Slurm would not run the jobs of {rule}: {reason.rstrip('.')}. Nothing was submitted; change the partition, "
        f"account, qos or sizes of {rule} with set-resources or default-resources in the profile."
    )


def mend_executor(executor, ended_clients):
    """Note which jobs Slurm ended, and fix three faults of the executor (plugin 2.8.0) that hold GPUs for nothing.

    While no job ends, the executor checks its jobs less and less often, up to every 180 s. Here it keeps Snakemake's
    own seconds-between-status-checks. And when Slurm does not answer in one round, the executor forgets all its jobs.
    Here the jobs that were neither settled nor kept stay active. And it loses a job it has submitted where a site's
    wrapper of sbatch prints a number beside the job's id. Here the id is found as for a server's job.
    """
    import snakemake_executor_plugin_slurm as plugin
    from captionqa.server.submitted_job import submitted_job

    validate = plugin.validate_or_get_slurm_job_id
    plugin.validate_or_get_slurm_job_id = lambda found, output: (
        submitted_job(output, executor.run_uuid) or validate(found, output)
    )
    interval_s = workflow.remote_execution_settings.seconds_between_status_checks

    class MendedExecutor(type(executor)):
        next_seconds_between_status_checks = property(lambda self: interval_s, lambda self, value: None)

        def report_job_success(self, job):
            self.settled.append(job)
            super().report_job_success(job)

        def report_job_error(self, job, *arguments, **keywords):
            self.settled.append(job)
            if job.external_jobid:  # else it was not even submitted
                ended_clients.note(job.external_jobid, job.job.rule.name, job.aux["slurm_logfile"])
            super().report_job_error(job, *arguments, **keywords)

        async def check_active_jobs(self, active_jobs):
            self.settled, kept = [], []
            async for job in super().check_active_jobs(active_jobs):
                kept.append(job)
                yield job
            known = {id(job) for job in kept + self.settled}
            for job in active_jobs:
                if id(job) not in known:
                    yield job

    executor.settled = []
    executor.__class__ = MendedExecutor


def report_lost_jobs(executor, lost_jobs):
    """Fail jobs whose end the executor would never notice, so that they are submitted again."""
    from captionqa.driver.terminal import print_message

    with executor.lock:
        waited_for = [job.external_jobid for job in executor.active_jobs]
    for number in lost_jobs.find(waited_for):
        with executor.lock:  # while the executor checks its jobs itself, the list is empty
            lost = [job for job in executor.active_jobs if job.external_jobid == number]
            executor.active_jobs[:] = [job for job in executor.active_jobs if job.external_jobid != number]
        for job in lost:
            print_message(f"Slurm's job {number} is lost: it ended and the executor did not hear of it")
            executor.report_job_error(job, msg=f"Slurm no longer knows job {number}. ")
