"""Keys: in one file that only its owner can read, gone after the run; in no other file, no log and no argv."""

import json
import os
import stat
import subprocess
import sys

import psutil
import pytest
from projects import MODEL, PATIENCE_S, ROOT

pytestmark = pytest.mark.slow

USERS_KEY = "sk-the-users-own-key-0123456789"


def arguments():
    """The command lines of all processes of this machine."""
    found = []
    for process in psutil.process_iter():
        try:
            found += process.cmdline()
        except psutil.Error:
            continue
    return found


def run_and_look(project):
    """Run the workflow, look into all its files while its requests wait for answers, and return its key."""
    project.faults(hold=0)
    driver = project.start("--verbose")
    project.wait_for(lambda: len(project.requests()) > 2)
    key = json.loads(project.key_file.read_text())["key"]
    assert len(key) > 20
    assert stat.S_IMODE(project.key_file.stat().st_mode) == 0o600
    assert project.files_with(key) == [project.key_file]
    assert not any(key in argument for argument in arguments())
    project.faults()
    assert driver.wait(PATIENCE_S) == 0, project.printed()
    return key


def test_only_the_key_file_holds_the_runs_key_and_only_while_it_runs(project):
    key = run_and_look(project)
    assert project.files_with(key) == []
    assert "--trust-remote-code" not in json.dumps(project.captions("simple", "_provenance"))


@pytest.fixture
def users_server(project):
    """A server that the user started, with a key of the user's own."""
    environment = project.config["models"][MODEL]["server"]["env"] | {"VLLM_API_KEY": USERS_KEY}
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "tests" / "stand_in_server.py"), "--served-model-name", MODEL],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    port = process.stdout.readline().rpartition(",")[2].strip(" )\n")
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.communicate()


def test_the_users_key_of_an_existing_server_is_in_no_other_file_either(project, users_server, monkeypatch):
    monkeypatch.setenv("USERS_KEY", USERS_KEY)
    project.config["models"][MODEL] |= {"url": users_server, "api_key_env": "USERS_KEY"}
    assert run_and_look(project) == USERS_KEY
    assert project.files_with(USERS_KEY) == []
    assert len(project.captions("simple")) == 10
