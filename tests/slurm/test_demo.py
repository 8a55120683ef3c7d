"""The demo with a real vLLM on a real Slurm."""

import pandas as pd
import pytest
from cluster import NODES
from projects import DEMO_MODEL, ROOT

pytestmark = [pytest.mark.vllm, pytest.mark.slow]


@pytest.fixture
def slurm_demo(project, cluster, demo_config):
    """The demo, one chunk a style, run through the Slurm profile, and all its jobs as scontrol describes them."""
    project.model = DEMO_MODEL
    in_one_chunk = {task: {**demo_config[task], "chunks": 1} for task in ("captions", "qa")}
    project.config = {**demo_config, **in_one_chunk, "output_dir": "out"}
    project.run()
    project.jobs = {job["comment"]: cluster.describe(job["number"]) for job in cluster.jobs("all")}
    return project


def test_the_demo_on_slurm_answers_all_as_it_does_on_one_machine(slurm_demo, demo_config, cluster):
    server = slurm_demo.jobs["rule_start_server"]
    assert server["NodeList"] == "gpu1"
    assert server["TresPerJob"] == "gres:gpu:1"
    chunks = [job for comment, job in slurm_demo.jobs.items() if "_chunk_" in comment and DEMO_MODEL in comment]
    assert len(chunks) == 4
    assert {job["NodeList"] for job in chunks} == set(NODES) - {"gpu1"}
    images = set(pd.read_csv(ROOT / "resources" / "demo" / "truth.csv")["image"])
    for style in ("simple", "short", "long"):
        assert slurm_demo.captions(style).keys() == images
        assert slurm_demo.captions(style, "_failures") == {}
    metrics = slurm_demo.qa("metrics")
    assert metrics["total_questions"] == len(pd.read_parquet(demo_config["qa"]["question_path"]))
    assert metrics["overall_accuracy"] >= 0.9
    assert not cluster.unended()
