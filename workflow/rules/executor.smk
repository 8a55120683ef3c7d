# How jobs are submitted to Slurm, and fixes for Snakemake's Slurm executor. In the main process only.
import shlex
from importlib import metadata


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


def check_executor():
    """Raise ConfigError for an executor whose scheduler captionqa has no launcher for, in a run that needs a server."""
    from captionqa.errors import ConfigError

    name = workflow.executor_plugin.name
    if workflow.non_local_exec and name != "slurm" and not CONFIG.model.url:
        raise ConfigError(
            f"the executor {name!r} cannot start a server: use executor slurm or local, or start the server "
            f"yourself and name it with models.{MODEL}.url."
        )


def slurm_run(executor, server_needed):
    """How Slurm runs the jobs, with the sbatch options that the executor makes for a job with start_server's resources.

    None where the jobs run on this machine.
    """
    if executor is None:
        return None
    starts = [job for job in workflow.dag.needrun_jobs() if job.rule.name == "start_server"]
    # a server is needed but no start is planned: another run's is up, and taking the lease will name that run
    if not server_needed or not starts or CONFIG.model.url:
        return {"name": executor.run_uuid}
    from captionqa.server.slurm_resources import checked_gpus
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string
    from snakemake_executor_plugin_slurm.validation import validate_slurm_extra

    (job,) = starts
    gpus = checked_gpus(CONFIG.model.server.tensor_parallel_size, job.resources)
    validate_slurm_extra(job)
    command = get_submit_command(
        job,
        {
            # placeholders, replaced at each start: equal options mean an equal server, which a driver may take over
            "run_uuid": "captionqa",
            "slurm_logfile": "captionqa",
            "comment_str": f"rule_{job.rule.name}",
            "account": next(executor.get_account_arg(job)),
            "partition": executor.get_partition_arg(job),
            "workdir": workflow.workdir_init,
        },
        settings=workflow.executor_settings,
    )
    options = shlex.split(command + set_gres_string(job))[1:]
    return {"name": executor.run_uuid, "options": options, "gpus": gpus}


def mend_executor(executor):
    """Fix three faults of the executor (plugin 2.8.0) that would hold a server's GPUs for nothing.

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
