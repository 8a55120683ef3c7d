"""The server's life on a real Slurm: whatever ends the server or the run, no answer is lost and no job is left."""

import json
import re
import shutil
import signal
import subprocess

import pytest
from captionqa.server.slurm_client_jobs import LostJobs
from captionqa.server.slurm_ended_clients import EndedClients
from projects import MODEL, PATIENCE_S, ROOT, draw_image
from slow_runs import finish, start_slowly
from stand_in_server import right_answer

pytestmark = pytest.mark.slow

PLAN = dict.fromkeys(("start_server", "release", "merge_captions", "check_failures", "default"), 1)
PLAN |= {"caption_chunk": 2}


def generations(project):
    return {server["generation"] for server in project.captions(suffix="_provenance")["servers"]}


def verdict(project):
    return json.loads((project.out / "logs" / MODEL / "verdict.json").read_text())


def one_server(cluster):
    (server,) = cluster.servers()
    return server["number"]


def test_a_run_uses_the_nodes_it_should_and_leaves_no_job(project, cluster):
    """With the documents' squeue line, and a client job that is requeued, which starts again at once."""
    project.config["report"] = {"page": True}
    driver = start_slowly(project)
    (line,) = re.findall(r"^    (squeue .*?)    #", (ROOT / "docs/slurm.md").read_text(), re.MULTILINE)
    rows = subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [next(word for word in row.split() if word.startswith("captionqa")) for row in rows[1:]]
    assert sorted(name.endswith("-server-0") for name in names) == [False, False, True]
    assert sum("rule_start_server" in row for row in rows) == 1
    assert sum("rule_caption_chunk" in row for row in rows) == 2
    server = cluster.describe(one_server(cluster))
    assert server["NodeList"] == "gpu1"
    assert server["TresPerJob"] == "gres:gpu:1"
    assert server["MinMemoryNode"] == "62.50G"  # 64,000 MB
    clients = [cluster.describe(job["number"]) for job in cluster.clients()]
    assert {client["NodeList"] for client in clients} == {"cpu1", "cpu2"}
    assert {client["NumCPUs"] for client in clients} == {"8"}
    assert {client["TimeLimit"] for client in clients} == {"2-00:00:00"}
    key = json.loads(project.key_file.read_text())["key"]
    assert project.files_with(key) == [project.key_file]
    assert not any(key in str(job) for job in (server, *clients))
    number = clients[0]["JobId"]
    cluster.command("scontrol", "requeue", number)
    started = {"Restarts": "1", "JobState": "RUNNING"}
    cluster.wait_for(lambda: started.items() <= cluster.describe(number).items(), 100)  # Slurm by itself: 120 s
    finish(project, driver)
    assert project.files_with(key) == []
    assert not cluster.unended()
    assert project.plan() == {}
    assert [part["answered"] for part in project.page()["parts"]] == [10]
    provenance = project.captions(suffix="_provenance")
    assert [entry["job"] for entry in provenance["servers"]] == [server["JobId"]]
    assert {entry["job"] for entry in provenance["clients"]} == {client["JobId"] for client in clients}


def test_a_chunk_that_fails_ends_the_run_and_only_it_runs_again(project, cluster):
    """Stopped at once, after which both chunks run again, and then with --keep-going, after which one does."""
    for number in range(10, 30):  # enough that no chunk has all its answers before
        draw_image(project.folder / "images" / f"{number}.png", number)
    for arguments in ((), ("--keep-going",)):
        answered = project.journaled_texts()
        project.forget_requests()
        driver = start_slowly(project, "--retries", "0", *arguments)
        unlucky, _ = cluster.clients()
        cluster.command("scancel", unlucky["number"])
        if arguments:
            cluster.wait_for(lambda gone=unlucky["number"]: gone not in {job["number"] for job in cluster.jobs()})
            project.faults()
        assert driver.wait(PATIENCE_S) != 0
        assert not cluster.unended()
        assert f"external_jobid: {unlucky['number']}" in project.printed()
        assert f"{unlucky['number']}.log" in project.printed()
        assert len(project.chunks("simple")) == (1 if arguments else 0)
        assert not answered & {right_answer(request["text"], request["images"]) for request in project.requests()}
        assert project.plan()["caption_chunk"] == (1 if arguments else 2)


def test_a_stopped_driver_leaves_no_job_and_the_next_run_asks_only_for_the_rest(project, cluster):
    """Stopped by one signal after another, and then let finish."""
    for number in range(10, 40):
        draw_image(project.folder / "images" / f"{number}.png", number)
    kept = 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        known = project.journaled_texts()
        project.forget_requests()
        driver = start_slowly(project)
        driver.send_signal(number)
        assert driver.wait(PATIENCE_S) != 0
        cluster.wait_for(lambda: not cluster.jobs())
        # the verdict of a run that was interrupted
        assert number == signal.SIGKILL or re.search(r"\n  where .* went: .* requests", project.printed())
        assert not known & {right_answer(request["text"], request["images"]) for request in project.requests()}
        kept = project.journaled()
    assert kept < 40
    project.faults()
    project.forget_requests()
    project.run()
    assert len(project.requests()) == 40 - kept
    assert len(project.captions()) == 40


def test_a_run_right_after_a_killed_driver_takes_its_server_over_and_drops_its_clients(project, cluster):
    project.config["models"][MODEL]["server"]["lease_timeout_s"] = 60
    driver = start_slowly(project)
    driver.kill()
    driver.wait()
    server, clients = one_server(cluster), {job["number"] for job in cluster.clients()}
    assert len(clients) == 2
    driver = project.start()
    project.wait_for(lambda: "taken over" in project.printed())
    cluster.wait_for(lambda: not clients & {job["number"] for job in cluster.jobs("pending,running")})
    assert one_server(cluster) == server
    finish(project, driver)


def test_a_server_that_cannot_start_is_reported_with_the_end_of_its_log(project, cluster):
    project.config["models"][MODEL]["server"]["env"]["STAND_IN_FAIL_START"] = "no such thing as a free lunch"
    text = project.run(check=False)
    assert "start_server failed: the server did not start: server 0: its process ended with exit code 1" in text
    assert "no such thing as a free lunch" in text
    assert "it is tried again" not in text
    assert not cluster.unended()


def test_a_server_job_that_dies_without_a_word_is_reported_at_once(project, cluster):
    project.config["models"][MODEL]["server"]["env"]["STAND_IN_LOADING_S"] = "600"
    driver = project.start()
    cluster.wait_for(lambda: cluster.jobs("running"))
    project.wait_for(lambda: (project.out / "logs" / MODEL / "server-0.log").exists())
    number = one_server(cluster)
    cluster.command("scancel", number)
    assert driver.wait(PATIENCE_S) != 0
    assert f"the server did not start: its Slurm job {number} was cancelled" in project.printed()


def test_a_refused_server_job_is_a_sentence(project, cluster):
    text = project.run("--set-resources", "start_server:slurm_partition=nowhere", check=False)
    assert "Slurm refused the server's job" in text
    assert "invalid partition specified: nowhere" in text


@pytest.mark.usefixtures("one_chunk")
def test_a_server_that_waits_in_the_queue_says_why_and_is_waited_for(project, cluster):
    cluster.command("sbatch", "--partition=gpu", "--gpus=2", "--output=/dev/null", "--wrap=sleep 600")
    (blocker,) = cluster.jobs()
    driver = project.start()
    project.wait_for(lambda: "PENDING (Resources)" in project.printed())
    cluster.command("scancel", blocker["number"])
    assert driver.wait(PATIENCE_S) == 0, project.printed()
    assert len(project.captions()) == 10
    assert " in Slurm's queue, " in project.printed()
    assert verdict(project)["phases"]["start"] > 0


@pytest.fixture
def chatty_wrapper(tmp_path, monkeypatch):
    """A site's wrapper of sbatch that prints lines of its own."""
    wrapper = tmp_path / "bin" / "sbatch"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\necho Account vision: 4200 of 9000 used\n{shutil.which("sbatch")} "$@" || exit\n'
        "echo Thank you, see you in 2027\n"
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=":")


#: A sitecustomize.py that has each Snakemake of a job start slowly, however fast the machine is.
SLOW_START = """
import os, sys, time

if "SLURM_JOB_ID" in os.environ and "snakemake" in sys.orig_argv:
    time.sleep(3)
"""


def test_small_chunks_are_told_and_a_sites_wrapper_that_prints_lines_of_its_own_loses_no_job(
    project, cluster, chatty_wrapper, tmp_path, monkeypatch
):
    """Of one job at a time, Slurm's queue is not to blame."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_START)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    project.config["captions"]["chunks"] = 6  # requests of less than 30 s tell nothing
    project.config["models"][MODEL]["server"]["health_interval_s"] = 0.25
    project.faults(hold=0)
    driver = project.start("--jobs", "1")
    project.wait_for(project.requests)
    assert json.loads((project.out / f"work/{MODEL}/server/handles.json").read_text()) == [{"job": one_server(cluster)}]
    assert len(cluster.clients()) == 1
    project.faults()
    assert driver.wait(PATIENCE_S) == 0, project.printed()
    assert len(project.captions()) == 10
    assert "it is tried again" not in project.printed()
    assert not cluster.unended()
    made = verdict(project)
    assert made["limit"] == "small_chunks"
    assert made["jobs"]["working_s"] < made["jobs"]["ran_s"] / 2
    assert made["jobs"]["wait_s"] < made["jobs"]["ran_s"] / 2
    assert "on average: the chunks are too small" in project.printed()


def test_a_driver_killed_while_its_server_waits_in_the_queue_leaves_no_job(project, cluster):
    cluster.command("sbatch", "--partition=gpu", "--gpus=2", "--output=/dev/null", "--wrap=sleep 600")
    (blocker,) = cluster.jobs()
    driver = project.start()
    project.wait_for(lambda: "PENDING (Resources)" in project.printed())
    driver.kill()
    driver.wait()
    cluster.wait_for(lambda: not cluster.servers())
    cluster.command("scancel", blocker["number"])
    cluster.wait_for(lambda: not cluster.jobs())


@pytest.mark.usefixtures("one_chunk")
def test_a_controller_that_is_away_for_a_while_does_no_harm(project, cluster):
    project.config["models"][MODEL]["server"]["lease_timeout_s"] = 120
    driver = start_slowly(project, "--verbose")
    cluster.stop_controller()
    try:
        project.faults()
        project.wait_for(lambda: len(project.chunks("simple")) == 1)
        project.wait_for(lambda: "SLURM query command failed" in project.printed())
    finally:
        cluster.start_controller()
    finish(project, driver)
    assert not cluster.unended()


def test_one_of_two_replicas_is_cancelled_and_no_item_is_lost(project, cluster):
    project.config["models"][MODEL]["server"]["replicas"] = 2
    project.config["client"]["concurrency"] = 2  # one for each server
    for number in range(10, 200):  # enough that the run goes on until both have answered
        draw_image(project.folder / "images" / f"{number}.png", number)
    project.faults(delay_s=0.5)
    driver = project.start()
    project.wait_for(lambda: len(project.used_servers()) == 2)
    project.faults(hold=0)
    cluster.command("scancel", cluster.servers()[0]["number"])
    finish(project, driver, items=200)
    assert not cluster.unended()


@pytest.mark.usefixtures("one_chunk")
def test_a_second_server_that_still_waits_in_the_queue_is_waited_for_when_the_first_is_gone(project, cluster):
    project.config["models"][MODEL]["server"]["replicas"] = 2
    blocker = cluster.command(
        "sbatch", "--parsable", "-pgpu", "--gpus=1", "--mem=1G", "-o/dev/null", "--wrap=sleep 600"
    )
    driver = start_slowly(project)
    first, second = sorted(cluster.servers(), key=lambda job: job["state"], reverse=True)
    assert (first["state"], second["state"]) == ("RUNNING", "PENDING")
    cluster.command("scontrol", "hold", second["number"])
    cluster.command("scancel", first["number"], blocker.strip())
    project.wait_for(lambda: "was cancelled" in project.printed())
    cluster.command("scontrol", "release", second["number"])
    finish(project, driver)


@pytest.mark.usefixtures("one_chunk")
def test_the_only_server_is_cancelled_and_the_run_fails_with_that_reason(project, cluster):
    driver = start_slowly(project)
    number = one_server(cluster)
    cluster.command("scancel", number)
    assert driver.wait(PATIENCE_S) != 0
    gone = f"the server is gone for good: server 0: its Slurm job {number} was cancelled"
    assert project.printed().partition("captionqa: failed after")[2].count(gone) == 1
    cluster.wait_for(lambda: not cluster.jobs())  # a client that has just started may take a while to end


def interrupt_by_requeue(cluster, number):
    cluster.command("scontrol", "requeue", number)


def interrupt_by_preemption(cluster, number):
    cluster.command("sbatch", "--partition=urgent", "--gpus=2", "--output=/dev/null", "--wrap=sleep 3")


def interrupt_by_loss_of_the_node(cluster, number):
    cluster.command("scontrol", "update", "NodeName=gpu1", "State=DOWN", "Reason=test")
    cluster.wait_for(lambda: cluster.servers()[0]["state"] == "PENDING")
    cluster.wait_for(lambda: cluster.resume("gpu1"))


def is_ready(project, generation):
    published = json.loads((project.out / "work" / MODEL / "server" / "endpoint-0.json").read_text())
    return (published["state"], published["generation"]) == ("ready", generation)


def test_the_only_server_comes_back_and_the_run_goes_on(project, cluster):
    """Interrupted three times, each time in another way."""
    interrupts = (interrupt_by_requeue, interrupt_by_preemption, interrupt_by_loss_of_the_node)
    for number in range(10, 30):
        draw_image(project.folder / "images" / f"{number}.png", number)
    project.config["client"]["max_attempts"] = 1  # none of this counts as a failed attempt
    driver = start_slowly(project)  # each server gives two answers
    number = one_server(cluster)
    for generation, interrupt in enumerate(interrupts, start=2):
        kept = project.journaled()
        interrupt(cluster, number)
        project.wait_for(lambda generation=generation: is_ready(project, generation), 100)  # Slurm by itself: 120 s
        project.wait_for(lambda kept=kept: project.journaled() >= kept + 2)
    finish(project, driver, items=30)
    assert max(generations(project)) == 1 + len(interrupts)
    assert "server 0 was started again 3 times" in project.printed()
    assert "Slurm ended its job and started it again (3 times)" in project.printed()
    made = verdict(project)
    assert made["asking"]["without_server_s"] > 0
    assert made["phases"]["start"] > 0
    assert not cluster.unended()


def test_a_server_near_its_time_limit_goes_back_to_the_queue_and_the_run_goes_on(project, cluster):
    project.config["client"]["max_attempts"] = 1
    # Slurm checks time limits every 30 s and warns up to 30 s early, so the warning comes in 30 to 60 s
    project.faults(hold=2)
    too_long = cluster.command(
        "sbatch", "--parsable", "--time=1", "--mem=1G", "-o/dev/null", "--wrap=sleep 600"
    ).strip()  # beside the run, since Slurm takes a minute for this too
    driver = project.start("--set-resources", "start_server:runtime=2", "start_server:slurm_extra=--signal=B:USR1@60")
    project.wait_for(lambda: "is PENDING (BeginTime)" in project.printed())
    finish(project, driver)
    assert "its job's time limit is near" in project.printed().split("captionqa: done")[1]
    assert max(generations(project)) >= 2
    cluster.wait_for(lambda: not cluster.jobs())
    ended = EndedClients()
    ended.note(too_long, "caption_chunk", project.folder / "none.log")
    (said,) = ended.messages()
    assert said.startswith("Slurm: a job of caption_chunk reached its time limit; raise caption_chunk's runtime\n")


def test_gpus_and_tensor_parallel_size_have_to_agree(project, cluster):
    project.config["models"][MODEL]["server"]["tensor_parallel_size"] = 4
    text = project.run(check=False)
    assert "server.tensor_parallel_size is 4, but each server's job asks Slurm for 1 GPUs" in text
    assert not cluster.unended()


def test_a_url_of_this_very_machine_is_warned_of(project, cluster):
    project.config["models"][MODEL] |= {"url": "http://localhost:1"}
    text = project.run(check=False)
    assert "WARNING: models.stand-in.url is http://localhost:1, which on another node is that node itself" in text


def test_the_profile_works_by_its_name_once_linked(project, cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    subprocess.run(["make", "--silent", "profiles"], check=True)
    project.profile = "slurm"
    assert project.plan() == PLAN
    assert not cluster.unended()


def test_jobs_that_slurm_forgot_or_ended_badly_are_found_at_the_second_look(cluster):
    held, cancelled = (
        cluster.command("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true").strip() for _ in range(2)
    )
    cluster.command("scancel", cancelled)
    numbers = [held, cancelled, "999999"]
    lost = LostJobs(interval_s=0)
    assert lost.find(numbers) == set()
    assert lost.find(numbers) == {cancelled, "999999"}
    assert LostJobs().find(numbers) == set()
    cluster.command("scancel", held)


def test_a_dry_run_of_a_thousand_chunks_submits_nothing(project, cluster):
    one = project.folder / "images" / "0.png"
    for number in range(12_000):
        (project.folder / "images" / f"same-{number}.png").hardlink_to(one)
    project.config["captions"]["chunks"] = 1000
    before = {job["number"] for job in cluster.jobs("all")}
    assert project.plan() == PLAN | {"caption_chunk": 1000}
    assert {job["number"] for job in cluster.jobs("all")} <= before  # Slurm forgets those that ended long ago
