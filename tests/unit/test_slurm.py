"""The resources and the vLLM build of Slurm jobs, and those that are refused; tests/slurm has those on a real Slurm."""

import pytest
from captionqa.errors import ConfigError
from captionqa.server import slurm, vllm_command
from captionqa.server.slurm_resources import checked_gpus, gpus_asked


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ({}, 0),
        ({"gpu": 0}, 0),
        ({"gpu": 2}, 2),
        ({"gpu_model": "a100"}, 1),
        ({"gpu": 4, "gpu_model": "a100"}, 4),
        ({"gres": "gpu"}, 1),
        ({"gres": "gpu:3"}, 3),
        ({"gres": "gpu:a100"}, 1),
        ({"gres": "gpu:a100:8"}, 8),
        ({"gres": "nvme:400G"}, 0),
    ],
)
def test_gpus_are_read_from_a_rules_resources(resources, gpus):
    assert gpus_asked(resources) == gpus


def test_tensor_parallel_size_follows_the_gpus():
    assert checked_gpus(None, {"gpu": 4}) == 4
    assert checked_gpus(4, {"gpu": 4}) == 4
    assert checked_gpus(1, {}) == 0
    assert checked_gpus(None, {}) == 0
    with pytest.raises(ConfigError, match=r"tensor_parallel_size is 2, .* asks Slurm for 1 .*start_server:gpu=2"):
        checked_gpus(2, {"gpu": 1})


def test_gpus_asked_for_twice_are_an_error():
    with pytest.raises(ConfigError, match=r"asks for GPUs twice, as gres 'gpu:a100:2' and as gpu; .*gpu=0"):
        checked_gpus(None, {"gpu": 1, "gres": "gpu:a100:2"})
    assert checked_gpus(None, {"gpu": 0, "gres": "gpu:a100:2"}) == 2


def test_another_cluster_is_an_error():
    with pytest.raises(ConfigError, match="cannot be sent to another Slurm cluster"):
        checked_gpus(None, {"gpu": 1, "clusters": "other"})


@pytest.fixture
def server_settings(make_config):
    def make(**changes):
        return make_config({"models": {"tiny": {"server": changes}}}).model.server

    return make


def test_the_cpu_build_in_a_job_with_gpus_is_an_error(server_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(vllm_command, "CHECKOUT", tmp_path)
    vllm_command.check_build(server_settings(), 1)
    (tmp_path / ".venv-vllm").mkdir()
    (tmp_path / ".venv-vllm" / ".installed-cpu").touch()
    with pytest.raises(ConfigError, match=r"asks for 1 GPUs, but \.venv-vllm holds vLLM's CPU build; run `make setup"):
        vllm_command.check_build(server_settings(), 1)
    vllm_command.check_build(server_settings(), 0)
    vllm_command.check_build(server_settings(allow_cpu=True), 1)
    vllm_command.check_build(server_settings(command=["vllm"]), 1)


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """An sbatch that fails with a sentence; returns the file of its arguments and of the script that it was given."""
    script, call = tmp_path / "bin" / "sbatch", tmp_path / "call"
    script.parent.mkdir()
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")

    def install(said: str, code: int = 1):
        script.write_text(f'#!/bin/sh\necho "$@" > {call}\ncat >> {call}\necho "{said}" >&2\nexit {code}\n')
        script.chmod(0o755)
        return call

    return install


def test_jobs_that_slurm_would_never_run_are_found_without_submitting_them(sbatch):
    call = sbatch("allocation failure: Requested node configuration is not available")
    assert slurm.refusal(["--partition=cpu"]) == "allocation failure: Requested node configuration is not available"
    assert call.read_text() == "--test-only --partition=cpu\n#!/bin/sh\n"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("sbatch: Job 8 to start at 2026-11-28T23:30:00 using 8 processors on nodes cpu1 in partition cpu", 0),
        ("allocation failure: Unable to contact slurm controller (connect failure)", 1),
        ("allocation failure: Requested nodes are busy", 1),
        ("allocation failure: Required partition not available (inactive or drain)", 1),
        ("sbatch: unrecognized option '--test-only'", 1),
    ],
)
def test_what_passes_by_itself_is_no_refusal(sbatch, said, code):
    sbatch(said, code)
    assert slurm.refusal(["--partition=cpu"]) is None


def test_what_sbatch_said_is_one_line_without_the_call():
    said = "SLURM sbatch failed. The error message was 'sbatch: error: Invalid qos'."
    assert slurm.sbatch_fault(f"{said}\n    sbatch call:\n        sbatch --wrap=x") == said


def test_a_name_of_a_job_that_is_not_utf_8_hides_no_other(tmp_path, monkeypatch):
    script = tmp_path / "squeue"
    script.write_bytes(b"#!/bin/sh\nprintf '7|gr\\366sse\\n8|captions\\n'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert slurm.running_names() == {"gr\udcf6sse", "captions"}
