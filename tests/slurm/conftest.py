"""One real Slurm for all tests, and a small project that runs on it with a stand-in server."""

import os

import cluster as slurm_cluster
import pytest
from projects import MODEL, Project, draw_image, stand_in_server


@pytest.fixture(scope="session")
def session_cluster(tmp_path_factory):
    if reason := slurm_cluster.missing():
        if "slurm" in os.environ.get("CAPTIONQA_DEMAND", ""):
            pytest.fail(reason)
        pytest.skip(reason)
    started = slurm_cluster.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture
def cluster(session_cluster, monkeypatch):
    """The cluster; a test that leaves a job in its queue fails."""
    monkeypatch.setenv("SLURM_CONF", str(session_cluster.conf))
    yield session_cluster
    left = session_cluster.unended()
    session_cluster.cancel_all()
    assert not left


class SlurmProject(Project):
    profile = "profiles/slurm"
    # shorter intervals than people need
    arguments = ("--seconds-between-status-checks", "1", "--latency-wait", "10")


@pytest.fixture
def project(cluster, tmp_path):
    """Ten images, one style, two chunks; a lease with a short timeout."""
    project = SlurmProject(tmp_path / "project")
    for number in range(10):
        draw_image(project.folder / "images" / f"{number}.png", number)
    project.config = {
        "output_dir": "out",
        "models": {
            MODEL: {"path": ".", "served_model_name": MODEL, "server": stand_in_server(project.folder)},
        },
        "captions": {"dataset_path": "images", "chunks": 2},
        "client": {"concurrency": 1, "backoff_s": 0.1, "max_attempts": 2},
        "report": {"page": False},  # each job on Slurm starts Snakemake twice; two tests have it made
    }
    yield project
    project.kill()


@pytest.fixture
def one_chunk(project):
    """The project in one chunk: each client job on Slurm starts Snakemake twice."""
    project.config["captions"]["chunks"] = 1
    return project
