"""Client jobs on a real Slurm: other runs leave them alone, and what keeps or ends them is said and does not last."""

import os
import re
import time

import pytest
from captionqa.server import slurm
from captionqa.server.slurm_ended_clients import EndedClients
from captionqa.server.slurm_job_logs import DAY_S, remove_old_logs
from captionqa.server.slurm_waiting_clients import WaitingClients
from projects import PATIENCE_S, ROOT
from slow_runs import finish, start_slowly

pytestmark = pytest.mark.slow


@pytest.fixture
def busy_nodes(cluster):
    """Both CPU nodes are full, so that client jobs wait; returns what frees them."""
    numbers = [
        cluster.command(
            "sbatch", "--parsable", f"-w{node}", "-c64", "--mem=1G", "-o/dev/null", "--wrap=sleep 900"
        ).strip()
        for node in ("cpu1", "cpu2")
    ]
    cluster.wait_for(lambda: len(cluster.jobs("running")) == len(numbers))
    yield lambda: cluster.command("scancel", *numbers)
    cluster.command("scancel", *numbers)
    cluster.wait_for(lambda: not cluster.jobs())


def waiting_clients(cluster):
    return [job for job in cluster.clients() if job["state"] == "PENDING" and "_chunk" in job["comment"]]


def failed_run(project, *arguments):
    """What a run that fails printed; some jobs would wait in the queue for ever."""
    driver = project.start(*arguments)
    assert driver.wait(PATIENCE_S) != 0, project.printed()
    return project.printed()


@pytest.mark.usefixtures("one_chunk")
def test_pending_jobs_are_told_and_other_runs_of_the_checkout_leave_them_alone(project, cluster, busy_nodes):
    project.config["output_dir"] = "done"
    with_jobs_here = ("--executor", "local", "--cores", "2")
    project.run(*with_jobs_here)
    project.config["output_dir"] = "out"
    driver = project.start()
    cluster.wait_for(lambda: len(waiting_clients(cluster)) == 1)
    assert "another run works on this output folder" in project.run(check=False)
    assert "captionqa: nothing to do: " in project.run("--config", "output_dir=done")
    project.wait_for(lambda: "no client job runs; waiting in Slurm's queue: " in project.printed())
    busy_nodes()
    finish(project, driver)
    assert "it is tried again" not in project.printed()


def test_old_logs_go_save_those_of_runs_that_have_jobs_in_the_queue(cluster, tmp_path):
    held = cluster.command("sbatch", "--parsable", "--hold", "-Jwaits", "-o/dev/null", "--wrap=true").strip()
    for run in ("waits", "over", "recent", "own"):
        for folder in ("empty", "full"):
            (tmp_path / run / "rule_caption_chunk" / folder).mkdir(parents=True)
        (tmp_path / run / "rule_caption_chunk" / "full" / "1.log").write_text("said")
        (tmp_path / run / "rule_caption_chunk" / "full" / "else.txt").write_text("not a log")
        for path in (*(tmp_path / run).rglob("*"), tmp_path / run):
            if run != "recent":
                os.utime(path, (time.time() - 11 * DAY_S,) * 2)
    remove_old_logs(tmp_path / "own", 10)
    left = {
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file() or not any(path.iterdir())
    }
    chunk = "rule_caption_chunk"
    assert left == {
        *(f"{run}/{chunk}/{rest}" for run in ("waits", "recent") for rest in ("empty", "full/1.log", "full/else.txt")),
        *(f"own/{chunk}/full/{name}" for name in ("1.log", "else.txt")),
        f"over/{chunk}/full/else.txt",
    }
    cluster.command("scancel", held)


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        ("caption_chunk:slurm_extra=--mem=1G", "the --memory option is not allowed"),
        ("caption_chunk:slurm_partition=nowhere", "invalid partition specified: nowhere"),
        ("caption_chunk:constraint=nothere", "invalid feature specification"),
        ("merge_captions:mem_mb=99000000", "node configuration is not available"),
        ("merge_captions:cpus_per_task=999", "node configuration is not available"),
    ],
)
def test_jobs_that_slurm_would_not_run_are_refused_before_a_server_is_submitted(project, cluster, resource, said):
    before = {job["number"] for job in cluster.jobs("all")}
    text = failed_run(project, "--set-resources", resource)
    assert re.search(rf"Slurm would not run the jobs of {resource.partition(':')[0]}: .*{said}", text, re.IGNORECASE), (
        text
    )
    assert {job["number"] for job in cluster.jobs("all")} <= before  # Slurm forgets those that ended long ago


#: The workflow with less patience than people need: seconds between two looks, and until a run ends that is hopeless.
IMPATIENT = """
from captionqa.server.slurm_waiting_clients import WaitingClients

WaitingClients.__init__.__defaults__ = (2, 10, 600)


include: "{snakefile}"
"""


@pytest.mark.usefixtures("one_chunk")
def test_clients_that_can_never_start_end_the_run(project, cluster):
    (project.folder / "Snakefile").write_text(IMPATIENT.format(snakefile=ROOT / "Snakefile"))
    impatient = ("default", "--snakefile", str(project.folder / "Snakefile"))
    # 1 h, and a chunk asks for 2 days
    text = failed_run(project, *impatient, "--default-resources", "slurm_partition=short")
    assert "waiting in Slurm's queue: 1 for PartitionTimeLimit. This does not pass, so the run ends" in text
    cluster.wait_for(lambda: not cluster.jobs())
    project.run()
    assert len(project.captions()) == 10


def test_held_jobs_are_waited_for_longer_and_others_for_as_long_as_it_takes(cluster):
    submit = ("sbatch", "--parsable", "-Jclients", "-o/dev/null", "--wrap=sleep 900")
    held = cluster.command(*submit, "--hold").strip()
    patient, eager = WaitingClients("clients", 0, 0, held_s=3600), WaitingClients("clients", 0, 3600, held_s=0)
    assert patient.check() is None
    assert "1 for JobHeldUser. This does not pass, so the run ends; scontrol release" in eager.check()
    running = cluster.command(*submit).strip()
    cluster.wait_for(lambda: cluster.jobs("running"))
    assert eager.check() is None
    cluster.command("scancel", held, running)
    cluster.wait_for(lambda: not cluster.jobs())


def test_a_job_that_is_to_begin_later_is_not_hurried(cluster):
    number = cluster.command("sbatch", "--parsable", "--begin=now+1hour", "-o/dev/null", "--wrap=true").strip()
    slurm.start_requeued_now(number)
    assert cluster.describe(number)["Restarts"] == "0"
    cluster.wait_for(lambda: cluster.jobs()[0]["reason"] == slurm.REQUEUE_DELAY)
    cluster.command("scancel", number)


def test_a_client_that_slurm_killed_is_told_at_the_end(project, cluster):
    project.faults(delay_s=200)
    text = project.run("--retries", "0", "--keep-going", "--set-resources", "caption_chunk:mem_mb=20", check=False)
    said = "ran out of memory; raise caption_chunk's mem_mb (2 times)"
    assert f"  Slurm: a job of caption_chunk {said}\n      job " in text, text
    cluster.wait_for(lambda: not cluster.jobs())


def test_a_client_that_is_cancelled_and_one_whose_node_is_lost_are_submitted_again_and_the_node_is_told(
    project, cluster
):
    driver = start_slowly(project, "--slurm-no-requeue")
    cancelled, lost = cluster.clients()
    cluster.command("scancel", cancelled["number"])
    node = cluster.describe(lost["number"])["NodeList"]
    cluster.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        finish(project, driver)
    finally:
        cluster.wait_for(lambda: cluster.resume(node))
    assert (
        f"Slurm: a job of caption_chunk was lost with its node\n      job {lost['number']}, log: " in project.printed()
    )
    assert project.printed().count("it is tried again; log: ") == 2
    assert len(project.requests()) <= 12  # a request in flight is repeated


def test_of_jobs_that_ended_well_or_by_themselves_nothing_is_told(cluster, tmp_path):
    ended = EndedClients()
    for command in ("true", "false"):
        number = cluster.command("sbatch", "--parsable", "-o/dev/null", f"--wrap={command}").strip()
        cluster.wait_for(lambda: not cluster.jobs())
        ended.note(number, "caption_chunk", tmp_path / "none.log")
    assert ended.messages() == []


def test_jobs_are_found_and_cancelled_whatever_user_the_environment_names(cluster, monkeypatch):
    for variable in ("LOGNAME", "USER"):  # `su` and `runuser` without a login shell leave another user's name there
        monkeypatch.setenv(variable, "nobody")
    numbers = {
        name: cluster.command("sbatch", "--parsable", "--hold", f"-J{name}", "-o/dev/null", "--wrap=true").strip()
        for name in ("ours", "ours-server-0", "ours-server-1")
    }
    assert list(slurm.jobs_named("ours")) == [numbers["ours"]]
    slurm.cancel_named("ours", "ours-server-0")
    cluster.wait_for(lambda: [job["name"] for job in cluster.jobs()] == ["ours-server-1"])
    slurm.cancel_named("ours-server-1")
    cluster.wait_for(lambda: not cluster.jobs())
