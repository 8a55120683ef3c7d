"""The supervisor publishes a healthy server, restarts a sick one, and ends it with the run."""

import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import requests
from captionqa.config.server_files import ServerFiles
from captionqa.errors import ServerError
from captionqa.files import read_json, write_json
from captionqa.run.lease import LeaseKeeper
from captionqa.server import endpoint, generation_key, load_log
from captionqa.server.endpoint import State
from captionqa.server.liveness import GracePeriod, HeartbeatWatch, TokenWatch
from captionqa.server.probe import EngineLoad
from captionqa.server.server_process import ServerProcess, exit_text
from projects import server_of

pytestmark = pytest.mark.slow

SICK_SERVER = Path(__file__).with_name("sick_server.py")
SUPERVISE = (
    "from captionqa.server import generation, supervisor; "
    "generation.POLL_S = supervisor.POLL_S = 0.05; supervisor.main()"
)
DRIVE = """
import sys, time
from pathlib import Path
from captionqa.run import lease
lease.RENEW_INTERVAL_S = 0.05
lease.LeaseKeeper(Path(sys.argv[1])).start()
print("held", flush=True)
time.sleep(600)
"""
NOT_AT_FIRST = """
import os, pathlib, sys
tries = pathlib.Path(os.environ["TRIES"])
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
if len(tries.read_text()) <= 2:
    sys.exit("OSError: [Errno 98] Address already in use")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


OLDER_VLLM = """
import os, sys
unknown = [word for word in sys.argv[2:] if word == "--no-enable-prefix-caching"]
if unknown:
    sys.exit("error: unrecognized arguments: " + " ".join(unknown))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


#: Loads for as long as the test says so.
WAITS = """
import os, sys, time
while not os.path.exists(os.environ["LOADED"]):
    time.sleep(0.01)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


ONCE = """
import os, pathlib, sys
tries = pathlib.Path(os.environ["TRIES"])
tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
if len(tries.read_text()) > 1:
    sys.exit(7)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
#: A server that ignores SIGTERM, as vLLM does while it loads, with an engine in a second process.
DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if not os.fork():
    print("deaf", flush=True)
time.sleep(600)
"""
#: Another process's server, which answers every request, with or without a key.
STRANGER = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        print(json.dumps([self.path, self.headers.get("Authorization")]), flush=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "tiny"}], "choices": []}')
    do_POST = do_GET
    def log_message(self, *args):
        pass
server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("stolen", flush=True)
server.serve_forever()
"""


class Supervised:
    """A supervisor in a process of its own, and its server."""

    def __init__(self, process, folder, log, ailments):
        self.process = process
        self.log = log
        self._folder = folder
        self._ailments = ailments

    @property
    def endpoint(self):
        return endpoint.read(self._folder, 0)

    @property
    def key(self):
        """The key of the published generation; None where none is published."""
        return generation_key.read(self._folder, self.endpoint)

    def state(self, state, generation=1):
        """The endpoint if it is in this state and generation, else None."""
        entry = self.endpoint
        return entry if entry and (entry.state, entry.generation) == (state, generation) else None

    def server(self):
        """The server's process; its reaper is the supervisor's other child."""
        return server_of(self.process.pid)

    def looks(self):
        """How often the supervisor has looked at a healthy server's load so far."""
        return sum(1 for replica in load_log.read_all(self._folder) for _ in replica)

    def port(self):
        """The port of the server that was started last, healthy or not; None before the first start."""
        said = self.log.read_text() if self.log.exists() else ""
        ports = re.findall(r"starting generation .*? --port (\d+)", said, re.DOTALL)
        return int(ports[-1]) if ports else None

    def ail(self, **ailments):
        write_json(self._ailments, ailments)


@pytest.fixture
def supervise(tmp_path, server_folder, make_config, start_python):
    """Start a supervisor of the sick server; keywords change `server` settings."""

    def start(ailments=None, environment=None, lease_timeout_s=60, log=None, model_version=None, reuse=True, **changes):
        log, sick = log or tmp_path / "logs" / "server.log", tmp_path / "ailments.json"
        known = {
            "command": [sys.executable, str(SICK_SERVER)],
            "health_interval_s": 0.05,
            "hang_timeout_s": 0.2,
            "start_timeout_s": 50,
            "max_restarts": 1,
            "env": {"AILMENTS": str(sick), "STAND_IN_REQUESTS": str(tmp_path / "requests.jsonl")},
        }
        settings = make_config({"models": {"tiny": {"server": known | changes}}}).model.server
        # the configuration does not allow such a short timeout
        own = {"host": "127.0.0.1", "tensor_parallel_size": 1, "lease_timeout_s": lease_timeout_s}
        wanted = {
            "request_id": "request",
            "settings": "settings",
            "server": dataclasses.asdict(settings) | own,
            "work": {"images": True, "reuse": reuse},
            "slurm": False,
            "model_path": "org/tiny",
            "served_name": "tiny",
            "model_version": model_version,
            "logs": [str(log)],
        }
        write_json(sick, ailments or {})
        write_json(ServerFiles(server_folder).request, wanted)
        process = start_python(SUPERVISE, server_folder, 0, "request", **(environment or {}))
        return Supervised(process, server_folder, log, sick)

    return start


@pytest.fixture
def ready(supervise, eventually):
    """A supervisor whose server is healthy."""

    def start(*arguments, **changes):
        supervised = supervise(*arguments, **changes)
        eventually(lambda: supervised.state(State.READY) or supervised.process.poll() is not None, "a healthy server")
        assert supervised.state(State.READY), supervised.log.read_text()
        return supervised

    return start


def test_a_server_of_another_model_than_planned_never_gets_ready_and_says_which_it_is(supervise, tmp_path, eventually):
    template = tmp_path / "own.jinja"
    template.write_text("after the plan")
    options = {"--chat-template": str(template)}
    planned = {"source": "org/tiny", "options": options, "files": {str(template): "d"}, "revision": None, "root": None}
    supervised = supervise(model_version=planned, extra_args=["--chat-template", str(template)])
    eventually(lambda: supervised.process.poll() is not None, "the end")
    entry = supervised.endpoint
    assert (entry.state, entry.url) == (State.DEAD, None)
    assert f"the content of {template} changed" in entry.reason
    assert State.READY not in [state for state, _ in entry.changes]
    assert entry.versions["model_revision"] == "unknown"


def test_a_healthy_server_is_published_and_taken_down_when_told_to_stop(ready, gone, server_folder):
    supervised = ready(environment={"SLURM_JOB_ID": "42"})
    entry, server = supervised.endpoint, supervised.server()
    assert (entry.model, entry.request_id, entry.settings) == ("tiny", "request", "settings")
    assert (entry.pid, entry.job, entry.host) == (supervised.process.pid, None, socket.gethostname())
    assert entry.versions["vllm"] == "stand-in"
    assert requests.get(f"{entry.url}/v1/models", timeout=20).status_code == 401
    key, key_file = supervised.key, ServerFiles(server_folder).generation_key(0)
    with_key = requests.get(f"{entry.url}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=20)
    assert with_key.json()["data"][0]["id"] == "tiny"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert not any(key in argument for argument in [*entry.argv, *server.cmdline()])
    assert key not in supervised.log.read_text()

    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.process.wait() == 0
    assert gone(server)
    assert not key_file.exists()
    assert (supervised.endpoint.state, supervised.endpoint.url) == (State.DEAD, None)
    assert "SIGTERM" in supervised.endpoint.reason


def test_a_crashed_server_is_restarted_a_bounded_number_of_times(ready, eventually):
    supervised = ready(max_restarts=1)
    first, key = supervised.server().pid, supervised.key
    os.kill(first, signal.SIGKILL)
    entry = eventually(lambda: supervised.state(State.READY, generation=2), "a second generation")
    assert entry.url is not None
    assert supervised.server().pid != first
    assert supervised.key not in (None, key)
    os.kill(supervised.server().pid, signal.SIGKILL)
    assert supervised.process.wait() == 0
    dead = supervised.endpoint
    assert dead.state is State.DEAD
    assert "signal SIGKILL; it was restarted once before" in dead.reason
    (restart,) = dead.restarts
    assert (restart["number"], restart["generation"]) == (1, 1)
    assert restart["reason"] == "its process ended with signal SIGKILL"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(restart["time"])) < timedelta(minutes=10)


@pytest.fixture
def watch(eventually):
    """Wait until the supervisor has looked at the server more often than it takes to forgive a restart, or to lose it.

    There are 0.05 s at least between two looks; both take 0.2 s, and the last look may not be over.
    """

    def wait(supervised):
        before = supervised.looks()
        eventually(lambda: supervised.looks() >= before + 8, "looks at the server")

    return wait


def test_a_server_that_works_between_its_crashes_goes_on(ready, eventually, watch):
    supervised = ready({"running": 1, "tokens": "advancing"}, max_restarts=1, restart_forgiven_s=0.2)
    for generation in (1, 2, 3):
        eventually(lambda generation=generation: supervised.state(State.READY, generation), "a server")
        watch(supervised)
        supervised.server().kill()
    eventually(lambda: supervised.state(State.READY, generation=4), "a fourth generation")
    assert [restart["number"] for restart in supervised.endpoint.restarts] == [1, 2, 3]


def test_a_server_that_is_idle_between_its_crashes_is_not_forgiven(ready, eventually, watch):
    supervised = ready({"running": 0}, max_restarts=1, restart_forgiven_s=0.2)
    watch(supervised)
    supervised.server().kill()
    eventually(lambda: supervised.state(State.READY, generation=2), "a second generation")
    watch(supervised)
    supervised.server().kill()
    assert supervised.process.wait() == 0
    assert "it was restarted once before" in supervised.endpoint.reason


def test_a_crash_that_comes_again_while_loading_ends_the_server_when_its_restarts_are_spent(ready, tmp_path):
    supervised = ready(
        command=[sys.executable, "-c", ONCE, str(SICK_SERVER)],
        environment={"TRIES": str(tmp_path / "tries")},
        max_restarts=3,
    )
    supervised.server().kill()
    assert supervised.process.wait() == 0
    assert "exit code 7; it was restarted 3 times before" in supervised.endpoint.reason
    assert [restart["generation"] for restart in supervised.endpoint.restarts] == [1, 2, 2]
    assert (tmp_path / "tries").read_text() == "xxxx"


def test_a_server_that_does_not_start_is_dead_at_once(supervise):
    supervised = supervise(environment={"STAND_IN_FAIL_START": "CUDA out of memory"}, max_restarts=5)
    assert supervised.process.wait() == 0
    assert supervised.endpoint.state is State.DEAD
    assert "exit code 1" in supervised.endpoint.reason
    log = supervised.log.read_text()
    assert "CUDA out of memory" in log
    assert log.count("starting generation") == 1


def test_a_command_that_is_not_there_is_dead_at_once(supervise):
    supervised = supervise(command=["no-such-vllm"])
    assert supervised.process.wait() == 0
    assert supervised.endpoint.state is State.DEAD
    assert "no-such-vllm cannot be started: No such file" in supervised.endpoint.reason


def test_another_port_is_tried_when_one_was_taken_meanwhile(ready, tmp_path):
    supervised = ready(
        command=[sys.executable, "-c", NOT_AT_FIRST, str(SICK_SERVER)],
        environment={"TRIES": str(tmp_path / "tries")},
        max_restarts=0,
    )
    assert supervised.log.read_text().count("starting generation 1") == 3


def test_an_option_that_an_older_vllm_does_not_know_is_left_out_and_the_server_starts(ready):
    supervised = ready(command=[sys.executable, "-c", OLDER_VLLM, str(SICK_SERVER)], max_restarts=0, reuse=False)
    entry = supervised.state(State.READY)
    assert "--no-enable-prefix-caching" not in entry.argv
    assert entry.argv[entry.argv.index("--mm-processor-cache-gb") + 1] == "0"
    assert any("--no-enable-prefix-caching is left out" in sentence for sentence in entry.chosen)
    (restart,) = entry.restarts
    assert restart["reason"] == "this vLLM does not know --no-enable-prefix-caching, so it goes on without"


def test_what_a_server_computes_on_is_the_gpus_of_all_copies_of_its_model(ready, tmp_path):
    """Else the rate of several GPUs would be kept as that of one."""
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\nprintf 'NVIDIA L40S\\n%.0s' 1 2 3 4\n")
    listing.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    supervised = ready(extra_args=["--data-parallel-size=2"], environment={"PATH": path})
    assert supervised.endpoint.hardware == "2 x NVIDIA L40S"


def test_a_port_that_is_stolen_while_the_server_loads_costs_another_try_and_the_thief_learns_no_key(
    supervise, eventually, start_python, tmp_path
):
    loaded = tmp_path / "loaded"
    command = [sys.executable, "-c", WAITS, str(SICK_SERVER)]
    supervised = supervise(command=command, environment={"LOADED": str(loaded)}, max_restarts=0)
    port = eventually(supervised.port, "a chosen port")
    thief = start_python(STRANGER, port)
    assert thief.stdout.readline() == "stolen\n"
    loaded.touch()
    entry = eventually(lambda: supervised.state(State.READY), "a healthy server")
    assert entry.url != f"http://127.0.0.1:{port}"
    assert supervised.port() != port
    thief.kill()
    seen = [json.loads(line) for line in thief.stdout]
    assert all(path.startswith("/captionqa/proof?") and key is None for path, key in seen), seen


def test_where_no_server_can_prove_that_it_is_ours_the_start_ends_after_a_few_ports(supervise):
    supervised = supervise({"foreign": True}, max_restarts=5)
    assert supervised.process.wait() == 0
    assert supervised.endpoint.state is State.DEAD
    assert re.search(r"is not the server that was started there .*; 3 ports were tried", supervised.endpoint.reason)


def test_a_server_whose_port_another_answers_on_is_replaced_and_no_request_is_blamed(ready, eventually):
    supervised = ready(max_restarts=1)
    supervised.ail(foreign=supervised.server().pid)
    eventually(lambda: supervised.state(State.REPLACING, generation=2), "a replacement")
    assert eventually(lambda: supervised.state(State.READY, generation=2), "a second generation").crashes == 0


def test_two_servers_that_start_together_and_want_the_same_port_both_become_healthy(
    supervise, eventually, tmp_path, start_python, server_folder, free_port
):
    wanted = free_port
    first = supervise(port=wanted, environment={"STAND_IN_LOADING_S": "1"})
    eventually(first.port, "a chosen port")
    other = tmp_path / "other"
    shutil.copytree(server_folder, other)
    log = tmp_path / "other.log"
    asked = read_json(ServerFiles(other).request)
    write_json(ServerFiles(other).request, asked | {"logs": [str(log)]})
    second = Supervised(start_python(SUPERVISE, other, 0, "request", STAND_IN_LOADING_S="1"), other, log, None)
    for supervised in (first, second):
        eventually(lambda supervised=supervised: supervised.state(State.READY), "a healthy server")
        assert supervised.log.read_text().count("starting generation") == 1
    assert first.endpoint.url == f"http://127.0.0.1:{wanted}"
    assert second.endpoint.url != first.endpoint.url
    for supervised in (first, second):
        supervised.process.terminate()
        supervised.process.wait()


def test_a_server_of_another_model_ends_the_start_at_once(supervise):
    supervised = supervise(extra_args=["--served-model-name", "another"])
    assert supervised.process.wait() == 0
    assert supervised.endpoint.state is State.DEAD
    assert "serves 'another', not 'tiny'; set served_model_name to match" in supervised.endpoint.reason
    assert "start_timeout_s" not in supervised.endpoint.reason


def test_a_full_disk_under_the_log_does_not_end_a_healthy_server(ready):
    supervised = ready(log=Path("/dev/full"))
    time.sleep(0.3)
    assert supervised.process.poll() is None
    assert supervised.state(State.READY)


def test_an_endpoint_that_cannot_be_published_yet_is_published_later(supervise, server_folder, eventually):
    ServerFiles(server_folder).endpoint(0).mkdir()
    supervised = supervise()
    eventually(lambda: supervised.log.exists() and "healthy at" in supervised.log.read_text(), "a healthy server")
    assert supervised.process.poll() is None
    ServerFiles(server_folder).endpoint(0).rmdir()
    eventually(lambda: supervised.state(State.READY), "a published server")


def test_a_request_that_is_out_of_sight_for_a_while_does_not_end_the_server(ready, server_folder):
    supervised = ready()
    asked = read_json(ServerFiles(server_folder).request)
    ServerFiles(server_folder).request.unlink()
    time.sleep(0.3)
    write_json(ServerFiles(server_folder).request, asked)
    time.sleep(0.3)
    assert supervised.process.poll() is None
    assert supervised.state(State.READY)


def test_a_server_that_never_gets_healthy_is_dead_after_the_start_timeout(supervise):
    supervised = supervise({"health_fails": True}, start_timeout_s=1)
    assert supervised.process.wait() == 0
    assert supervised.endpoint.state is State.DEAD
    assert "not healthy after 1 s (server.start_timeout_s)" in supervised.endpoint.reason


def test_a_server_whose_health_check_fails_is_replaced(ready, eventually, gone):
    supervised = ready()
    first = supervised.server()
    supervised.ail(health_fails=True)
    assert eventually(lambda: supervised.state(State.REPLACING, generation=2), "a replacement").url is None
    supervised.ail()
    eventually(lambda: supervised.state(State.READY, generation=2), "a second generation")
    assert gone(first)


def test_a_server_is_replaced_only_when_requests_run_without_a_token(ready, server_folder, eventually, watch):
    supervised = ready()
    watch(supervised)
    supervised.ail(running=3, tokens="advancing")
    watch(supervised)
    assert supervised.state(State.READY, generation=1)
    looks = [look for replica in load_log.read_all(server_folder) for look in replica]
    assert {look["requests"] for look in looks} == {0, 3}
    assert {look["waiting"] for look in looks} == {0}
    supervised.ail(running=1, waiting=2)
    replaced = eventually(lambda: supervised.state(State.REPLACING, generation=2), "a replacement")
    assert "3 requests were there for 0 s without a token" in replaced.reason
    assert [state for state, _ in replaced.changes] == [State.STARTING, State.READY, State.REPLACING]
    assert sorted(at for _, at in replaced.changes) == [at for _, at in replaced.changes]


def test_a_server_one_of_whose_api_servers_hangs_is_replaced(ready, eventually, watch):
    supervised = ready()
    supervised.ail(beats=[11, 12])
    watch(supervised)
    assert supervised.state(State.READY, generation=1)
    supervised.ail(beats=[11])
    replaced = eventually(lambda: supervised.state(State.REPLACING, generation=2), "a replacement")
    assert "its process 12, one of 2 that take requests, hung for 0 s" in replaced.reason
    assert replaced.crashes == 1
    eventually(lambda: supervised.state(State.READY, generation=2), "a second generation")


def test_a_server_told_to_stop_while_its_first_answer_hangs_stops(supervise, tmp_path, eventually):
    supervised = supervise({"post_hangs": True})
    eventually((tmp_path / "ailments.hangs").exists, "a first request")
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.process.wait(timeout=20) == 0


def test_a_released_lease_ends_the_server(keeper, ready, gone):
    supervised = ready()
    server = supervised.server()
    keeper.release()
    assert supervised.process.wait() == 0
    assert gone(server)
    assert supervised.endpoint.state is State.DEAD
    assert "the driver stopped the run" in supervised.endpoint.reason


@pytest.fixture
def driver(start_python, server_folder):
    """A driver in a process of its own that holds the lease."""
    process = start_python(DRIVE, server_folder)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_server_passes_from_a_lost_driver_to_the_next(driver, ready, server_folder):
    supervised = ready()
    driver.kill()
    driver.wait()
    following = LeaseKeeper(server_folder)
    following.start()
    time.sleep(0.5)
    assert supervised.process.poll() is None
    assert supervised.state(State.READY)
    following.release()
    assert supervised.process.wait() == 0


def test_kill_9_of_the_driver_ends_the_server(driver, ready):
    supervised = ready(lease_timeout_s=2)
    driver.send_signal(signal.SIGKILL)
    assert supervised.process.wait() == 0
    assert supervised.endpoint.state is State.DEAD
    assert "no sign of life for 2 s" in supervised.endpoint.reason


def test_kill_9_of_the_supervisor_leaves_no_server(ready, eventually, gone):
    supervised = ready()
    server = supervised.server()
    supervised.process.send_signal(signal.SIGKILL)
    supervised.process.wait()
    eventually(lambda: gone(server), "the server's end")


def test_kill_9_of_the_supervisor_leaves_nothing_of_a_server_that_hears_no_sigterm(supervise, eventually, gone):
    supervised = supervise(command=[sys.executable, "-c", DEAF])
    supervisor = psutil.Process(supervised.process.pid)
    eventually(lambda: len(supervisor.children(recursive=True)) == 3, "the reaper, the server and its engine")
    eventually(lambda: supervised.log.read_text().endswith("\ndeaf\n"), "a server that hears no SIGTERM")
    family = supervisor.children(recursive=True)
    supervised.process.send_signal(signal.SIGKILL)
    supervised.process.wait()
    eventually(lambda: all(map(gone, family)), "the end of all")


#: Prints its folder for temporary files, and makes there what everybody may write.
MESSY = (
    "import os, sys, tempfile, time\n"
    "folder = tempfile.gettempdir()\n"
    "open(os.open(os.path.join(folder, 'socket'), os.O_CREAT | os.O_WRONLY, 0o666), 'w').close()\n"
    "print(folder, flush=True)\n"
    "time.sleep(600)\n"
)


def test_what_a_server_leaves_among_temporary_files_is_closed_to_others_and_goes_with_it(tmp_path):
    before = os.umask(0)
    try:
        child = ServerProcess([sys.executable, "-c", MESSY], {**os.environ, "TMPDIR": str(tmp_path)})
    finally:
        os.umask(before)
    folder = Path(child.stdout.readline().decode().rstrip("\n"))
    assert [path.name for path in folder.iterdir()] == ["socket"]
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    child.end(grace_s=3)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_for_temporary_files_that_is_not_on_this_machine_costs_nothing(tmp_path):
    child = ServerProcess([sys.executable, "-c", MESSY], {**os.environ, "TMPDIR": str(tmp_path / "elsewhere")})
    folder = Path(child.stdout.readline().decode().rstrip("\n"))
    assert folder.parent == Path(tempfile.gettempdir())
    child.end(grace_s=3)
    assert not folder.exists()


def test_kill_9_of_the_supervisor_leaves_no_temporary_files(start_python, tmp_path, eventually):
    supervisor = start_python(
        "import os, sys, time\n"
        "from captionqa.server.server_process import ServerProcess\n"
        "child = ServerProcess([sys.executable, '-c', sys.argv[1]], {**os.environ, 'TMPDIR': sys.argv[2]})\n"
        "print(child.stdout.readline().decode(), flush=True)\n"
        "time.sleep(600)\n",
        MESSY,
        tmp_path,
    )
    folder = Path(supervisor.stdout.readline().rstrip("\n"))
    assert folder.parent == tmp_path
    assert folder.is_dir()
    supervisor.kill()
    supervisor.wait()
    eventually(lambda: not list(tmp_path.iterdir()), "the removal of the temporary files")


def test_a_server_ends_when_another_is_asked_for(ready, server_folder, eventually, gone):
    supervised = ready()
    wanted = read_json(ServerFiles(server_folder).request)
    server = supervised.server()
    write_json(ServerFiles(server_folder).request, wanted | {"request_id": "another"})
    eventually(lambda: supervised.process.poll() is not None, "the supervisor to end")
    assert gone(server)
    assert supervised.endpoint.state is State.READY  # the endpoint file belongs to the other server now
    assert "another server is asked for meanwhile" in supervised.log.read_text()


@pytest.mark.parametrize(("code", "text"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal SIGKILL")])
def test_how_a_process_ended_is_said_in_words(code, text):
    assert exit_text(code) == text


def test_a_grace_period_expires_only_without_a_success_in_between():
    now = [0.0]
    grace = GracePeriod(10, lambda: now[0])
    now[0] = 9
    assert not grace.expired()
    grace.renew()
    now[0] = 18
    assert not grace.expired()
    now[0] = 20
    assert grace.expired()


def test_each_heartbeat_must_advance_and_a_server_that_was_suspended_as_a_whole_has_time_to_go_on():
    now = [0.0]
    watch = HeartbeatWatch(10, lambda: now[0])
    for now[0], beats in (
        (0, {}),
        (1, {7: 1}),
        (9, {7: 1, 8: 1}),
        (18, {7: 2, 8: 2}),
        (700, {7: 2, 8: 2}),
        (705, {7: 3, 8: 3}),
    ):
        watch.check(beats)
    for now[0] in (710, 715.5):
        watch.check({7: now[0], 8: 3})
    with pytest.raises(ServerError, match="its process 8, one of 2 that take requests, hung for 10 s"):
        watch.check({7: 720, 8: 3})


def test_tokens_must_advance_while_requests_run_or_wait():
    watch = TokenWatch(limit_s=0)
    assert watch.advanced(None)
    assert not watch.advanced(EngineLoad(requests=1, tokens=5))
    assert watch.advanced(EngineLoad(requests=1, tokens=6))
    assert not watch.advanced(EngineLoad(requests=0, tokens=6))
    with pytest.raises(ServerError, match="2 requests were there for 0 s without a token"):
        watch.advanced(EngineLoad(requests=2, tokens=6))


def test_a_group_that_ignores_the_request_to_end_is_killed_as_a_whole(eventually, gone):
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "member = os.fork()\n"
        "if member:\n"
        "    print(json.dumps([os.getpid(), member]), flush=True)\n"
        "time.sleep(600)\n"
    )
    child = ServerProcess([sys.executable, "-c", f"import json\n{code}"], dict(os.environ))
    family = [psutil.Process(pid) for pid in json.loads(child.stdout.readline())]
    child.end(grace_s=0.3)
    assert child.returncode == -signal.SIGKILL
    eventually(lambda: all(map(gone, family)), "the end of both")


def test_those_that_a_server_leaves_behind_are_buried_also_where_the_first_process_buries_nobody(start_python):
    server = (
        "import os, signal, time\n"
        "if not os.fork():\n"
        "    os.fork()\n"
        "    os._exit(0)\n"  # its child becomes an orphan
        "os.wait()\n"
        "if os.fork():\n"
        "    time.sleep(600)\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), os._exit(0)))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    supervisor = (
        "import os, psutil, sys, time\n"
        "from captionqa.server.server_process import ServerProcess, become_subreaper\n"
        "def count(*states):\n"
        "    return sum(child.status() in states for child in psutil.Process().children())\n"
        "become_subreaper()\n"
        f"child = ServerProcess([sys.executable, '-c', {server!r}], dict(os.environ))\n"
        "child.stdout.readline()\n"
        "while count(psutil.STATUS_ZOMBIE) == 0:\n"
        "    time.sleep(0.01)\n"
        "print(child.poll(), count(psutil.STATUS_ZOMBIE))\n"
        "child.end()\n"
        "print(child.returncode, psutil.Process().children())\n"
    )
    first = (
        "import ctypes, psutil, subprocess, sys\n"
        "from captionqa.server.server_process import PR_SET_CHILD_SUBREAPER\n"
        "ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)\n"
        f"subprocess.run([sys.executable, '-c', {supervisor!r}])\n"
        "print(psutil.Process().children())\n"
    )
    said, errors = start_python(first).communicate(timeout=120)
    assert said.splitlines() == ["None 0", "-15 []", "[]"], errors


def test_a_group_that_is_gone_already_is_no_error():
    child = ServerProcess([sys.executable, "-c", ""], dict(os.environ))
    child.wait()
    child.end()


def test_the_command_says_what_it_needs(start_python):
    process = start_python("from captionqa.server.supervisor import main; main()")
    assert process.wait() == 2
    assert "folder replica" in process.stderr.read()
