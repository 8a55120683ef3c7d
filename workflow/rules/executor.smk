# How jobs come to Slurm, and what Snakemake's Slurm executor leaves to be done for them. In the main process only.
import shlex


def slurm_executor():
    """The executor that submits this run's jobs to Slurm, or None."""
    jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
    executor = workflow.scheduler.get_executor(jobs[0]) if jobs else None
    return executor if hasattr(executor, "run_uuid") else None


def slurm_server(executor, server_needed):
    """How Slurm starts a server: sbatch's options as the executor makes them for any job of these resources."""
    if executor is None:
        return None
    starts = [job for job in workflow.dag.needrun_jobs() if job.rule.name == "start_server"]
    # without a start another run's server is up, and the lease will tell whose
    if not server_needed or not starts or config["models"][MODEL]["url"]:
        return {"name": executor.run_uuid}
    from captionqa.server.slurm_resources import check_resources
    from snakemake_executor_plugin_slurm.submit_string import get_submit_command
    from snakemake_executor_plugin_slurm.utils import set_gres_string
    from snakemake_executor_plugin_slurm.validation import validate_slurm_extra

    (job,) = starts
    gpus = check_resources(config["models"][MODEL]["server"]["tensor_parallel_size"], job.resources)
    validate_slurm_extra(job)
    command = get_submit_command(
        job,
        {
            # replaced at each start: the same options mean the same server, which the next driver may take over
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
    """Mend two faults of the executor (plugin 2.8.0) that would hold a server's GPUs for nothing.

    While no job ends it looks at its jobs ever less often, up to every 180 s; here it keeps to Snakemake's own
    seconds-between-status-checks. And after a round in which Slurm did not answer it has forgotten all its jobs.
    """
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
    """Let jobs fail, and so be submitted again, of which the executor would never hear."""
    from captionqa.driver.terminal import say

    with executor.lock:
        waited_for = [job.external_jobid for job in executor.active_jobs]
    for number in lost_jobs.find(waited_for):
        with executor.lock:  # the list is empty while the executor looks itself
            lost = [job for job in executor.active_jobs if job.external_jobid == number]
            executor.active_jobs[:] = [job for job in executor.active_jobs if job.external_jobid != number]
        for job in lost:
            say(f"Slurm's job {number} is lost: it ended and the executor did not hear of it")
            executor.report_job_error(job, msg=f"Slurm no longer knows job {number}. ")
