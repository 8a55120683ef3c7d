"""The workflow as it is installed: the command that starts it, and other versions beside it."""

import os

import pytest

pytestmark = pytest.mark.slow


def test_the_command_starts_snakemake_from_any_folder(project):
    text = project.captionqa("run", "-n")
    assert "Job stats:" in text
    assert "caption_chunk" in text
    assert "Traceback" not in text
    assert not (project.out / "work" / project.model / "server" / "request.json").exists()
    assert (project.out / "work" / "items" / "captions" / "plan.json").exists()
    status = project.captionqa("status").splitlines()
    assert [line.split()[-2:] for line in status[2:5]] == [["0", "10"], ["0", "10"], ["0", "6"]]
    assert status[-1] == "no run works on this folder now; go on with: captionqa run my.yaml"


def test_the_status_of_a_complete_run(completed):
    text = completed.captionqa("status")
    rows = [line.split() for line in text.splitlines()[2:5]]
    assert [" ".join(row) for row in rows] == [
        "captions SIMPLE 2 of 2 10 10 0 0 0",
        "captions SHORT 2 of 2 10 10 0 0 0",
        "qa 2 of 2 6 6 0 0 0",
    ]
    assert "server 0: ended" in text
    assert "\nno run works on this folder now\n" in text


def test_jobs_use_the_checkouts_modules_though_another_version_is_installed(project, tmp_path, monkeypatch):
    installed = tmp_path / "site-packages" / "captionqa"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("raise ImportError('the installed one')")
    monkeypatch.setenv("PYTHONPATH", str(installed.parent))
    assert "the installed one" not in project.run("audit")
    assert (project.out / "audit.tsv").exists()


def test_an_executor_of_another_version_is_refused_before_anything_is_submitted(project, tmp_path, monkeypatch):
    described = tmp_path / "site-packages" / "snakemake_executor_plugin_slurm-2.3.1.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: snakemake-executor-plugin-slurm\nVersion: 2.3.1\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(described.parent), os.environ.get("PYTHONPATH", "")]))
    project.profile = "profiles/slurm"
    text = project.run(check=False)
    assert "captionqa: snakemake-executor-plugin-slurm 2.3.1 is installed, but captionqa needs 2.8.x; run" in text
    assert "Traceback" not in text
    assert not (project.out / "work" / project.model / "server" / "lease.json").exists()
