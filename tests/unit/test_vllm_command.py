"""The command line and the environment of the server."""

import dataclasses
import json
import os

import pytest
from captionqa.errors import ServerStartError
from captionqa.server import vllm_command
from captionqa.server.key_guard import KEY_VARIABLE, KeyGuard

KEY = "the-run's-key"


@pytest.fixture
def settings(make_config):
    """The `server` settings of a model; keywords change them."""
    return lambda **changes: make_config({"models": {"tiny": {"server": changes}}}).model.server


@pytest.fixture
def argv(settings):
    return lambda path="org/tiny", **changes: vllm_command.arguments(
        settings(**changes), path, "tiny", "127.0.0.1", 8123
    )


@pytest.fixture
def no_vllm(tmp_path, monkeypatch):
    """A machine without vLLM: none in the checkout, in conda or on PATH."""
    monkeypatch.setattr(vllm_command, "CHECKOUT", tmp_path / "checkout")
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def executable(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def value_of(argv, option):
    assert argv.count(option) == 1
    return argv[argv.index(option) + 1]


def test_settings_become_the_servers_options(argv):
    made = argv(tensor_parallel_size=2, dtype="bfloat16", max_model_len=4096, limit_images_per_prompt=3)
    assert value_of(made, "--model") == "org/tiny"
    assert value_of(made, "--served-model-name") == "tiny"
    assert value_of(made, "--host") == "127.0.0.1"
    assert value_of(made, "--port") == "8123"
    assert value_of(made, "--tensor-parallel-size") == "2"
    assert value_of(made, "--dtype") == "bfloat16"
    assert value_of(made, "--max-model-len") == "4096"
    assert json.loads(value_of(made, "--limit-mm-per-prompt")) == {"image": 3, "video": 0}


def test_extra_args_come_last_and_win(argv):
    assert argv(extra_args=["--enforce-eager", "--dtype=half"])[-2:] == ["--enforce-eager", "--dtype=half"]


def test_a_server_may_read_a_folder_that_its_node_has_and_extra_args_still_win(settings, tmp_path):
    sees_folder = dataclasses.replace(settings(extra_args=["--seed", "7"]), allowed_local_media_path=str(tmp_path))
    words = vllm_command.arguments(sees_folder, "org/tiny", "tiny", "127.0.0.1", 8123)
    assert words[-4:] == ["--allowed-local-media-path", str(tmp_path), "--seed", "7"]
    tmp_path.rmdir()
    words = vllm_command.arguments(sees_folder, "org/tiny", "tiny", "127.0.0.1", 8123)
    assert "--allowed-local-media-path" not in words
    assert "--allowed-local-media-path" not in vllm_command.arguments(settings(), "org/tiny", "tiny", "127.0.0.1", 8123)


def test_no_context_length_leaves_the_models_own(argv):
    assert "--max-model-len" not in argv(max_model_len=None)


def test_the_models_generation_config_does_not_change_sampling(argv):
    assert value_of(argv(), "--generation-config") == "vllm"


def test_the_server_fetches_no_address_unless_the_user_names_hosts(argv):
    hosts = value_of(argv(), "--allowed-media-domains")
    assert hosts  # an empty list would mean all of them
    assert "." not in hosts
    assert argv(extra_args=["--allowed-media-domains", "images.org"])[-2:] == ["--allowed-media-domains", "images.org"]


def test_the_guard_is_a_middleware_by_a_name_that_can_be_imported(argv):
    module, _, name = value_of(argv(), "--middleware").rpartition(".")
    assert getattr(__import__(module, fromlist=[name]), name) is KeyGuard


def test_a_local_model_is_given_by_its_whole_path(argv, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert value_of(argv("model"), "--model") == str((tmp_path / "model").resolve())


def test_the_key_travels_in_the_environment_and_never_in_argv(settings, argv):
    assert vllm_command.environment(settings(), KEY)[KEY_VARIABLE] == KEY
    assert not any(KEY in argument or "api-key" in argument for argument in argv())


def test_the_users_variables_reach_the_server_but_not_the_key(settings, monkeypatch):
    monkeypatch.setenv("FROM_THE_JOB", "kept")
    made = vllm_command.environment(settings(env={"OMP_NUM_THREADS": "2", KEY_VARIABLE: "mine"}), KEY)
    assert made["OMP_NUM_THREADS"] == "2"
    assert made["FROM_THE_JOB"] == "kept"
    assert made[KEY_VARIABLE] == KEY


@pytest.mark.parametrize("place", ["job", "settings"])
def test_the_guard_can_be_imported_beside_the_users_own_modules(settings, monkeypatch, place, workflow_folder):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if place == "job":
        monkeypatch.setenv("PYTHONPATH", "/users/own")
    made = vllm_command.environment(settings(env={"PYTHONPATH": "/users/own"} if place == "settings" else {}), KEY)
    assert {str(workflow_folder), "/users/own"} <= set(made["PYTHONPATH"].split(os.pathsep))


def test_a_configured_command_is_taken_as_it_is(no_vllm):
    assert vllm_command.resolve(["srun", "python", "serve.py"]) == ["srun", "python", "serve.py"]


def test_vllm_is_looked_for_beside_the_checkout_then_in_conda_then_in_path(no_vllm, monkeypatch):
    with pytest.raises(ServerStartError, match="make setup"):
        vllm_command.resolve(None)
    in_path = executable(no_vllm / "bin" / "vllm")
    assert vllm_command.resolve(None) == [str(in_path), "serve"]
    conda = executable(no_vllm / "conda" / "bin" / "vllm").parent
    monkeypatch.setenv("CONDA_PREFIX", str(conda.parent))
    assert vllm_command.resolve(None) == [str(conda / "python"), "-m", "vllm.entrypoints.cli.main", "serve"]
    beside = executable(no_vllm / "checkout" / ".venv-vllm" / "bin" / "python")
    assert vllm_command.resolve(None) == [str(beside), "-m", "vllm.entrypoints.cli.main", "serve"]
