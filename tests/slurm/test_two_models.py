"""Two models on a real Slurm: their servers one after the other on the GPUs of one, or beside each other."""

import json

import pandas as pd
import pytest
from projects import MODEL, PATIENCE_S, stand_in_server
from slow_runs import start_slowly

pytestmark = pytest.mark.slow

READER = "reader"
#: Both GPUs of the cluster for each server, and fewer cores for the second model's.
ALL_GPUS = ("--set-resources", "start_server:gpu=2", "start_server:cpus_per_task={'reader': 2}.get(wildcards.model, 8)")


@pytest.fixture
def project(project):
    """The project with questions, which a reader answers from the captions."""
    (reader := stand_in_server(project.folder))["env"]["STAND_IN_REQUESTS"] = str(project.folder / "reader.jsonl")
    project.config["models"][READER] = {"path": ".", "served_model_name": READER, "server": reader}
    questions = [{"qid": f"q{n}", "question": "What?", "answer": "A", "image": f"{n}.png"} for n in range(10)]
    pd.DataFrame(questions).to_parquet(project.folder / "questions.parquet")
    data = {"question_path": "questions.parquet", "dataset_path": "images", "chunks": 1}
    project.config["qa"] = data | {"contexts": ["caption"], "reader": READER}
    project.config["captions"]["chunks"] = 1
    return project


def metrics(project):
    return json.loads((project.out / "qa" / READER / f"{READER}_with_{MODEL}_simple_metrics.json").read_text())


def server_jobs(cluster, after=()):
    """The jobs of servers that were submitted after these, in their order; Slurm forgets jobs that ended long ago."""
    states = "pending,running,completing,cancelled,completed,failed,timeout"
    jobs = [cluster.describe(job["number"]) for job in cluster.jobs(states) if "-server-" in job["name"]]
    last = max((int(job["JobId"]) for job in after), default=0)
    return sorted((job for job in jobs if int(job["JobId"]) > last), key=lambda job: int(job["JobId"]))


def test_the_second_server_is_submitted_when_the_first_has_ended_so_that_one_gpu_is_enough(project, cluster):
    before = server_jobs(cluster)
    project.run(*ALL_GPUS)
    first, second = server_jobs(cluster, before)
    assert second["JobName"].endswith(f"-{READER}-server-0")
    assert first["EndTime"] <= second["SubmitTime"] <= second["StartTime"]
    assert (first["TresPerJob"], second["TresPerJob"]) == ("gres:gpu:2", "gres:gpu:2")
    assert (first["NumCPUs"], second["NumCPUs"]) == ("8", "2")
    (server,) = project.captions(suffix="_provenance")["servers"]
    assert server["argv"][server["argv"].index("--tensor-parallel-size") + 1] == "2"  # as it has GPUs
    assert metrics(project)["answered_questions"] == 10
    assert not cluster.unended()
    assert project.plan(*ALL_GPUS) == {}


def test_a_driver_that_is_killed_between_two_servers_leaves_no_job_and_the_next_run_needs_the_second_alone(
    project, cluster
):
    driver = project.start(*ALL_GPUS)
    released = project.out / "work" / MODEL / "server" / "released" / "captions.json"
    project.wait_for(released.exists)
    driver.kill()
    driver.wait()
    project.wait_for(lambda: not project.processes())  # whatever waited for the first server to end
    cluster.wait_for(lambda: not cluster.jobs())
    assert metrics_missing(project)
    project.forget_requests()
    before = server_jobs(cluster)
    project.run(*ALL_GPUS)
    assert project.requests() == []
    assert metrics(project)["answered_questions"] == 10
    (second,) = server_jobs(cluster, before)
    assert second["JobName"].endswith(f"-{READER}-server-0")


def metrics_missing(project):
    return not (project.out / "qa" / READER).exists()


def test_with_a_gpu_each_both_servers_run_at_once(project, cluster):
    project.config["servers"] = "side_by_side"
    driver = start_slowly(project)
    cluster.wait_for(lambda: [job["state"] for job in cluster.servers()] == ["RUNNING", "RUNNING"])
    project.faults()
    assert driver.wait(PATIENCE_S) == 0, project.printed()
    assert metrics(project)["answered_questions"] == 10
    assert not cluster.unended()
