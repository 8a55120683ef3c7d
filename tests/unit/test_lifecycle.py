"""The server's life as the driver sees it: start, adoption, use of an existing server, stop; no process is left."""

import ipaddress
import json
import os
import signal
import stat
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from captionqa.config.layout import Layout
from captionqa.errors import ConfigError, RunStoppedError, RunTakenOverError, ServerStartError
from captionqa.files import write_json
from captionqa.run.lease import RUN_VARIABLE, LeaseKeeper
from captionqa.run.process_identity import process_start
from captionqa.server import generation_key, start_wait
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.launcher import LocalLauncher, SupervisorStatus, wait_until_gone
from captionqa.server.lifecycle import Server, check_model_path, drop_stale_live_markers, endpoint
from captionqa.server.ports import listen_address
from projects import files_with

pytestmark = pytest.mark.slow

FAIL = "import sys; print('loading'); sys.exit('torch.OutOfMemoryError: CUDA out of memory')"


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(start_wait, "POLL_S", 0.05)


class Run:
    """One output folder with its server, which ends with the test."""

    def __init__(self, make_config, stand_in_path, folder):
        self.layout = Layout(str(folder / "output"), "tiny")
        self.folder = self.layout.server
        self._make_config = make_config
        self._command = [sys.executable, str(stand_in_path)]
        self._last = None

    def server(self, model=None, client=None, **settings):
        """The driver's side of the server, with changed settings of the model, the client and the server."""
        known = {"command": self._command, "env": {"STAND_IN_REQUESTS": os.devnull}, "start_timeout_s": 60}
        tiny = {**(model or {}), "server": known | settings}
        changes = {"output_dir": self.layout.output_dir, "models": {"tiny": tiny}, "client": client or {}}
        config = self._make_config(changes)
        self._last = Server(config, "tiny", self.layout)
        return self._last

    def processes(self):
        """All processes of the run: the supervisors, their servers and the servers' reapers."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "captionqa.server.supervisor" in words and str(self.folder) in words:
                with suppress(psutil.NoSuchProcess):  # it may have ended since it was listed
                    found += [process, *process.children(recursive=True)]
        return found

    def get(self, path, key=None):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return requests.get(endpoint.read(self.folder, 0).url + path, headers=headers, timeout=30)

    def end(self):
        if self._last is not None:
            self._last.stop()


@pytest.fixture
def make_run(raw_config, make_config, stand_in_path):
    """Make runs, each in its own folder."""
    made = []

    def make(folder):
        made.append(Run(make_config, stand_in_path, folder))
        return made[-1]

    yield make
    for run in made:
        run.end()


@pytest.fixture
def run(make_run, tmp_path):
    return make_run(tmp_path)


@pytest.fixture
def lease(run):
    held = LeaseKeeper(run.folder)
    held.start()
    yield held
    held.release()


def test_a_started_server_answers_with_the_runs_key_alone_and_stops_when_told_to(run, lease, gone):
    server = run.server()
    (ready,) = server.start()
    assert (ready.state, ready.model, ready.generation) == (State.READY, "org/tiny", 1)

    key, key_file = generation_key.read(run.folder, ready), run.layout.server_files.generation_key(0)
    assert run.get("/v1/models").status_code == 401
    assert run.get("/v1/models", key).json()["data"][0]["id"] == "org/tiny"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600

    processes = run.processes()
    assert len(processes) == 3
    assert not any(key in word for process in processes for word in process.cmdline())
    files = [path for path in Path(run.layout.output_dir).rglob("*") if path.is_file()]
    assert files_with(key, files) == [key_file]

    # a run that needs no server stops that of one that was killed
    assert server.start(needed=False) == []
    assert run.processes() == []
    assert not run.layout.server_files.handles.exists()
    assert not key_file.exists()
    assert all(map(gone, processes))
    assert endpoint.read(run.folder, 0).state is State.DEAD
    server.stop()


def test_a_start_that_a_killed_driver_left_behind_does_not_stop_what_the_next_run_takes_over(run, lease, monkeypatch):
    """It finds out when the next run begins, which looks at the server in the same moment."""
    monkeypatch.setenv(RUN_VARIABLE, "1")  # of an earlier run than the lease's
    with pytest.raises(RunTakenOverError):
        run.server().start()
    (left,) = json.loads(run.layout.server_files.handles.read_text())
    assert psutil.Process(left["pid"]).status() != psutil.STATUS_ZOMBIE
    monkeypatch.delenv(RUN_VARIABLE)
    run.server().start()
    assert len(run.processes()) == 3


def test_a_supervisor_that_is_suspended_still_ends_when_told_to(run, lease, gone):
    server = run.server()
    (ready,) = server.start()
    processes = run.processes()
    os.kill(ready.pid, signal.SIGSTOP)
    server.stop()
    assert all(map(gone, processes))


def test_a_running_server_is_taken_over_only_while_it_lives_and_fits(run, lease, gone, eventually):
    (first,) = run.server().start()
    # nothing that decides its options, as seeds do for a CPU build alone
    (same,) = run.server(start_timeout_s=50, client={"sampling": {"temperature": 0.7, "seed": 1}}).start()
    assert (same.request_id, same.pid, same.url) == (first.request_id, first.pid, first.url)
    before, key = run.processes(), generation_key.read(run.folder, first)
    assert len(before) == 3

    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: all(map(gone, before)), "the end of the first server")
    (second,) = run.server().start()
    assert second.request_id != first.request_id
    before = run.processes()
    assert len(before) == 3

    (third,) = run.server(max_model_len=4096).start()
    assert third.request_id != second.request_id
    assert "4096" in third.argv
    assert all(map(gone, before))
    assert len(run.processes()) == 3
    assert run.get("/v1/models", key).status_code == 401
    assert run.get("/v1/models", generation_key.read(run.folder, third)).ok


def test_a_running_server_is_taken_over_only_if_it_may_read_just_the_folder_that_is_wanted(run, lease, images):
    def start(**client):
        return run.server(client=client).start()[0]

    reading = start(image_transport="file")
    place = reading.argv.index("--allowed-local-media-path")
    assert reading.argv[place + 1] == str(images.path.resolve())
    assert start(image_transport="file").request_id == reading.request_id
    without = start()
    assert without.request_id != reading.request_id
    assert "--allowed-local-media-path" not in without.argv


def test_a_server_that_does_not_start_is_an_error_with_the_end_of_its_own_log_and_advice(run, lease):
    with pytest.raises(ServerStartError) as error:
        run.server(command=[sys.executable, "-c", FAIL]).start()
    message = str(error.value)
    assert "exit code 1" in message
    assert "CUDA out of memory" in message
    assert "lower server.max_model_len" in message
    assert run.layout.server_log() in message
    assert run.processes() == []

    with pytest.raises(ServerStartError, match="another start"):
        run.server(command=[sys.executable, "-c", "print('another start')"]).start()
    assert "CUDA" in Path(run.layout.previous_server_log()).read_text()
    assert "CUDA" not in Path(run.layout.server_log()).read_text()
    unknown = "print('error: unrecognized', 'arguments: --middleware x --max-num-sequs 8')"
    with pytest.raises(ServerStartError, match=r"needs one that knows --middleware\. Run"):
        run.server(command=[sys.executable, "-c", unknown], extra_args=["--max-num-sequs", "8"]).start()


def test_a_server_that_is_not_healthy_in_time_is_an_error_and_leaves_nothing(run, lease):
    with pytest.raises(ServerStartError, match=r"server\.start_timeout_s"):
        run.server(command=[sys.executable, "-c", "import time; time.sleep(600)"], start_timeout_s=0.3).start()
    assert run.processes() == []


def test_a_run_that_is_given_up_during_the_start_leaves_nothing(run, lease, eventually):
    lease.release()
    with pytest.raises(RunStoppedError):
        run.server().start()
    eventually(lambda: run.processes() == [])


@pytest.mark.parametrize("host", ["0.0.0.0", "localhost", "lo"])
def test_a_server_listens_on_the_one_numeric_address_that_is_published(run, lease, host):
    (ready,) = run.server(host=host).start()
    address = urlsplit(ready.url)
    assert address.hostname == listen_address(host)
    assert ipaddress.ip_address(address.hostname)
    assert address.hostname not in ("0.0.0.0", "::")
    connections = [found for process in run.processes() for found in process.net_connections("inet")]
    listening = {tuple(found.laddr) for found in connections if found.status == psutil.CONN_LISTEN}
    assert listening == {(address.hostname, address.port)}


def test_a_server_without_the_key_of_its_generation_is_not_taken_over(run, lease):
    (first,) = run.server().start()
    run.layout.server_files.generation_key(0).unlink()
    (second,) = run.server().start()
    assert second.request_id != first.request_id


def test_each_replica_has_its_own_endpoint(run, lease, eventually):
    server = run.server(replicas=2)
    server.start()
    both = eventually(lambda: [e for e in endpoint.read_all(run.folder) if e.state is State.READY][1:], "two servers")
    assert [entry.replica for entry in both] == [1]
    found = endpoint.read_all(run.folder)
    assert len({entry.url for entry in found}) == len({generation_key.read(run.folder, entry) for entry in found}) == 2
    server.stop()
    assert run.processes() == []


@pytest.fixture
def elsewhere(stand_in):
    """The model settings for an existing server."""
    return {"url": stand_in.url, "served_model_name": "tiny"}


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_an_existing_server_is_used_as_it_is(run, elsewhere, ending):
    server = run.server(elsewhere | {"url": elsewhere["url"] + ending})
    (ready,) = server.start()
    assert (ready.state, ready.url, ready.pid) == (State.READY, elsewhere["url"], None)
    assert endpoint.read_all(run.folder) == [ready]
    assert run.processes() == []
    server.stop()
    assert requests.get(f"{elsewhere['url']}/health", timeout=30).ok


def test_an_existing_server_of_another_model_is_refused_by_name(run, elsewhere):
    with pytest.raises(ServerStartError, match="serves 'tiny', not 'org/tiny'; set served_model_name"):
        run.server(elsewhere | {"served_model_name": None}).start()
    assert endpoint.read_all(run.folder) == []


def test_an_existing_server_gets_the_key_from_its_variable(run, elsewhere, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "their-key")
    with pytest.raises(ServerStartError, match="refused the API key"):
        run.server(elsewhere).start()
    with pytest.raises(ServerStartError, match="api_key_env names THEIR_KEY, which is not set"):
        run.server(elsewhere | {"api_key_env": "THEIR_KEY"}).start()
    monkeypatch.setenv("THEIR_KEY", "their-key")
    run.server(elsewhere | {"api_key_env": "THEIR_KEY"}).start()
    assert endpoint.read_key(run.folder) == "their-key"


def test_an_existing_server_that_is_not_there_is_an_error(run, elsewhere, refused_url):
    with pytest.raises(ServerStartError, match="cannot be reached"):
        run.server(elsewhere | {"url": refused_url}).start()


def test_something_else_at_the_url_is_an_error(run, scripted, elsewhere):
    with pytest.raises(ServerStartError, match="HTTP 501"):
        run.server(elsewhere | {"url": scripted.url}).start()


def test_an_existing_server_that_serves_another_model_than_planned_is_refused_and_said_to_the_next_run(
    run, elsewhere, stand_in
):
    version = {"source": "org/tiny as tiny", "options": None, "files": {}, "revision": None, "root": "/models/a"}
    write_json(run.layout.model_versions, {"versions": [version], "planned": 0})
    stand_in.serve_root("/models/b")
    with pytest.raises(ServerStartError, match="serves /models/a, and says /models/b"):
        run.server(elsewhere).start()
    (left,) = endpoint.read_all(run.folder)
    assert (left.state, left.versions["model_root"]) == (State.DEAD, "/models/b")
    stand_in.serve_root("/models/a")
    (ready,) = run.server(elsewhere).start()
    assert ready.state is State.READY


def test_going_over_to_an_existing_server_ends_the_own_one(run, lease, elsewhere):
    run.server().start()
    run.server(elsewhere).start()
    assert run.processes() == []
    assert endpoint.read(run.folder, 0).url == elsewhere["url"]


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere", "~/nowhere", "models/of/mine", "../model"])
def test_a_path_that_can_only_be_a_folder_must_be_one(make_config, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"models\.tiny\.path: there is no folder"):
        check_model_path(make_config({"models": {"tiny": {"path": path}}}), "tiny")


@pytest.mark.parametrize("path", ["org/model", "model", "./here"])
def test_a_hub_id_or_a_folder_that_is_there_is_a_path(make_config, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    check_model_path(make_config({"models": {"tiny": {"path": path}}}), "tiny")


def test_the_path_of_an_existing_servers_model_is_not_looked_for(make_config):
    check_model_path(make_config({"models": {"tiny": {"path": "/data/on/their/disk", "url": "http://node:1"}}}), "tiny")


@pytest.mark.parametrize("held", [True, False])
def test_live_markers_are_dropped_only_when_no_driver_lives(run, held):
    marker = Path(run.layout.live("captions"))
    marker.parent.mkdir(parents=True)
    marker.touch()
    lease = LeaseKeeper(run.folder)
    lease.start()
    if not held:
        lease.release()
    drop_stale_live_markers(run.layout)
    lease.release()
    assert marker.exists() is held


def test_only_endpoints_that_say_so_are_dead(make_run, tmp_path):
    run = make_run(tmp_path)
    server = run.server()
    write_json(
        run.layout.server_files.handles, [{"pid": os.getpid(), "process_started": process_start(os.getpid()) - 9}]
    )
    live = Path(run.layout.live("captions"))
    assert server.check_liveness() is None  # start_server has not finished
    live.parent.mkdir()
    live.touch()
    assert server.check_liveness() is None  # an endpoint that cannot be read counts as no news
    Endpoint(replica=0, request_id="r", settings="s", model="tiny", state=State.READY).publish(run.folder)
    assert "its supervisor ended without a word" in server.check_liveness()
    assert endpoint.read(run.folder, 0).state is State.DEAD
    run.layout.server_files.stopping.touch()
    assert server.check_liveness() is None


def test_a_handle_stops_the_process_it_was_made_for_and_no_other(start_python):
    process = start_python("import time; time.sleep(600)")
    launcher = LocalLauncher()
    handle = {"pid": process.pid, "process_started": process_start(process.pid)}
    recycled = handle | {"process_started": handle["process_started"] - 1000}
    assert [status.alive for status in launcher.status([handle, recycled])] == [True, False]
    launcher.stop([recycled])
    assert not wait_until_gone(launcher, [handle], timeout_s=0.2)
    launcher.stop([handle])
    assert wait_until_gone(launcher, [handle])


class _LateLauncher(LocalLauncher):
    """Sees processes as they were before they ended, as at the moment before."""

    def status(self, handles):
        return [SupervisorStatus(True)] * len(handles)


def test_a_process_that_ends_by_itself_meanwhile_is_stopped(start_python):
    process = start_python("pass")
    handle = {"pid": process.pid, "process_started": process_start(process.pid)}
    process.wait()
    _LateLauncher().stop([handle])


def test_two_processes_may_stop_a_server_at_the_same_time(make_run, tmp_path, monkeypatch):
    """As the driver and start_server at Ctrl-C: the other has removed the file of handles after it was read."""
    server = make_run(tmp_path).server()
    handles = [{"pid": os.getpid(), "process_started": process_start(os.getpid()) - 9}]
    looks = iter([handles, handles])
    monkeypatch.setattr(server, "_handles", lambda: next(looks, []))
    server.stop()
    assert next(looks, None) is None


def test_the_time_in_a_queue_is_no_time_of_the_start(tmp_path, monkeypatch):
    """The job waits for longer than the server may take, and then the server is ready at once."""
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(start_wait, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda seconds: None))
    ready = Endpoint(replica=0, request_id="r", settings="s", model="tiny", state=State.READY)
    statuses = iter([SupervisorStatus(True, waiting=True)] * 50)

    class Queue(LocalLauncher):
        def status(self, handles):
            if (status := next(statuses, None)) is None:
                ready.publish(tmp_path)
            return [status or SupervisorStatus(True)]

    server = {"start_timeout_s": 100, "lease_timeout_s": 60}
    request = {"request_id": "r", "server": server, "logs": ["log"], "model_path": "."}
    (found,) = start_wait.wait_until_ready(tmp_path, Queue(), [{"pid": 1, "process_started": 1}], request)
    assert found.state is State.READY
