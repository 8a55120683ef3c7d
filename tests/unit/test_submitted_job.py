"""The id of a submitted job, whatever a site's wrapper of sbatch and squeue prints around it."""

import pytest
from captionqa.errors import ServerStartError
from captionqa.server.slurm_launcher import SlurmLauncher
from captionqa.server.submitted_job import submitted_job

NAME = "run-server-0"
JOB = "4711"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Slurm's commands with a site's wrappers: sbatch prints a text, squeue knows jobs; calls are kept."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def install(output: str, queue: tuple[str, ...] = (JOB,)):
        printed = {"sbatch": output, "squeue": "".join(f"{line}\n" for line in queue), "scancel": ""}
        for command, text in printed.items():
            (folder / f"{command}.out").write_text(text)
            script = folder / command
            script.write_text(f'#!/bin/sh\necho {command} "$@" >> "$0.calls"\ncat "$0.out"\n')
            script.chmod(0o755)

    install.calls = lambda: "".join(path.read_text() for path in sorted(folder.glob("*.calls")))
    return install


def start(tmp_path):
    return SlurmLauncher("run").start(["-m", "captionqa"], 0, tmp_path / "log")


@pytest.mark.parametrize(
    "output",
    [
        "4711\n",
        "4711;lab\n",
        "4711\nThank you for using the cluster\n",
        "Account vision: 4200 hours left\n4711\n",
        "Welcome.\n 4711;lab \n---\n12 jobs, 3 running\n",
    ],
)
def test_the_line_that_parsable_prints_is_the_id(site, tmp_path, output):
    site(output)
    assert start(tmp_path) == {"job": JOB}
    assert "squeue" not in site.calls()


@pytest.mark.parametrize(
    "output",
    ["Submitted batch job 4711\n", "42\n4711\n", "4711\n4711\n", "job 4711 on partition gpu, 42 hours left\n"],
)
def test_where_several_lines_or_none_may_be_the_id_slurm_is_asked(site, tmp_path, output):
    site(output, ("Welcome to the queue of 42 jobs", "4710", f"  {JOB}"))
    assert start(tmp_path) == {"job": JOB}
    assert f"--name={NAME}" in site.calls()


@pytest.mark.parametrize("output", ["", "Thank you\n", "4710\n4711\n"])
def test_a_job_whose_id_cannot_be_told_is_cancelled_and_the_start_fails(site, tmp_path, output):
    site(output, ("4710", "4711"))
    with pytest.raises(ServerStartError, match=r"in which no job id can be told.* on a line of its own"):
        start(tmp_path)
    assert f"--name={NAME}" in site.calls().split("scancel")[1]


def test_the_tasks_of_an_array_count_by_the_arrays_id(site):
    site("", ("4711_1", "4711_[2-9]"))
    assert submitted_job("Submitted batch job 4711", "run") == JOB
