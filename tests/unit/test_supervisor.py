"""The supervisor: a server is published when healthy, replaced when sick, and gone when the run is."""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest
import requests
from captionqa import endpoint, supervisor
from captionqa.child import exit_text, free_port, listen_address, start_child, stop_group, url_host
from captionqa.endpoint import State
from captionqa.errors import ServerError
from captionqa.files import read_json, write_json
from captionqa.lease import LeaseKeeper
from captionqa.probe import Patience

KEY = "the-run's-key"
SICK_SERVER = Path(__file__).with_name("sick_server.py")
SUPERVISE = "from captionqa import supervisor; supervisor.POLL_S = 0.05; supervisor.main()"
DRIVE = """
import sys, time
from pathlib import Path
from captionqa import lease
lease.BEAT_S = 0.05
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

    def state(self, state, generation=1):
        """The endpoint once it is in this state and generation, else None."""
        entry = self.endpoint
        return entry if entry and (entry.state, entry.generation) == (state, generation) else None

    def server(self):
        """The server's process."""
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def ail(self, **ailments):
        write_json(self._ailments, ailments)


@pytest.fixture
def supervise(tmp_path, server_folder, make_config, start_python):
    """Start a supervisor of the sick server; `server` settings may be changed."""

    def start(ailments=None, environment=None, lease_timeout_s=60, **changes):
        log, sick = tmp_path / "logs" / "server.log", tmp_path / "ailments.json"
        known = {
            "command": [sys.executable, str(SICK_SERVER)],
            "health_interval_s": 0.05,
            "hang_timeout_s": 0.2,
            "start_timeout_s": 50,
            "max_restarts": 1,
            "env": {"AILMENTS": str(sick), "STAND_IN_REQUESTS": str(tmp_path / "requests.jsonl")},
        }
        settings = make_config({"models": {"tiny": {"server": known | changes}}})["models"]["tiny"]["server"]
        settings["lease_timeout_s"] = lease_timeout_s
        request = {
            "request_id": "request",
            "settings": "settings",
            "server": settings | {"host": "127.0.0.1", "tensor_parallel_size": 1},
            "slurm": False,
            "model_path": "org/tiny",
            "served_name": "tiny",
            "logs": [str(log)],
        }
        log.parent.mkdir()
        write_json(sick, ailments or {})
        write_json(server_folder / supervisor.REQUEST_FILE, request)
        endpoint.write_key(server_folder, KEY)
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


def test_a_healthy_server_is_published_and_taken_down_when_told_to_stop(ready, gone):
    supervised = ready(environment={"SLURM_JOB_ID": "42"})
    entry, server = supervised.endpoint, supervised.server()
    assert (entry.model, entry.request_id, entry.settings) == ("tiny", "request", "settings")
    assert (entry.pid, entry.job, entry.host) == (supervised.process.pid, None, socket.gethostname())
    assert entry.versions["vllm"] == "stand-in"
    assert requests.get(f"{entry.url}/v1/models", timeout=20).status_code == 401
    with_key = requests.get(f"{entry.url}/v1/models", headers={"Authorization": f"Bearer {KEY}"}, timeout=20)
    assert with_key.json()["data"][0]["id"] == "tiny"
    assert not any(KEY in argument for argument in [*entry.argv, *server.cmdline()])
    assert KEY not in supervised.log.read_text()

    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.process.wait() == 0
    assert gone(server)
    assert (supervised.endpoint.state, supervised.endpoint.url) == (State.DEAD, None)
    assert "SIGTERM" in supervised.endpoint.reason


def test_a_crashed_server_is_restarted_a_bounded_number_of_times(ready, eventually):
    supervised = ready(max_restarts=1)
    first = supervised.server().pid
    os.kill(first, signal.SIGKILL)
    entry = eventually(lambda: supervised.state(State.READY, generation=2), "a second generation")
    assert entry.url is not None
    assert supervised.server().pid != first
    os.kill(supervised.server().pid, signal.SIGKILL)
    assert supervised.process.wait() == 0
    dead = supervised.endpoint
    assert dead.state is State.DEAD
    assert "signal SIGKILL; it was restarted 1 times before" in dead.reason


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


def test_a_server_is_replaced_only_when_requests_run_without_a_token(ready, eventually):
    supervised = ready()
    supervised.ail(running=0)
    time.sleep(0.5)
    supervised.ail(running=3, tokens="advancing")
    time.sleep(0.5)
    assert supervised.state(State.READY, generation=1)
    supervised.ail(running=3)
    replaced = eventually(lambda: supervised.state(State.REPLACING, generation=2), "a replacement")
    assert "3 requests ran for 0 s without a token" in replaced.reason


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


def test_a_free_port_is_the_wanted_one_if_it_can_be_had():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        wanted = taken.getsockname()[1]
        taken.listen()
        assert free_port("127.0.0.1", wanted) != wanted
    assert free_port("127.0.0.1", wanted) == wanted
    with socket.socket() as bound:  # as vLLM does while it loads: bound, shared and not yet listening
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", wanted))
        assert free_port("127.0.0.1", wanted) != wanted
    assert free_port("127.0.0.1", 0) > 0


def test_an_address_that_is_not_this_machines_is_an_error():
    with pytest.raises(ServerError, match=r"no port can be bound on '192\.0\.2\.1'; set server\.host"):
        free_port("192.0.2.1", 0)


@pytest.mark.parametrize(("host", "name"), [("127.0.0.1", "127.0.0.1"), ("node1", "node1"), ("::1", "[::1]")])
def test_a_server_is_reached_under_the_name_it_is_bound_to(host, name):
    assert url_host(host) == name


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_server_bound_to_all_addresses_is_reached_by_the_machines_name(host):
    assert url_host(host) == socket.gethostname()


def test_a_network_interface_stands_for_its_address():
    assert listen_address("lo") == "127.0.0.1"
    assert listen_address("node1") == "node1"


def test_a_server_ends_when_another_is_asked_for(ready, server_folder, eventually, gone):
    supervised = ready()
    request = read_json(server_folder / supervisor.REQUEST_FILE)
    server = supervised.server()
    write_json(server_folder / supervisor.REQUEST_FILE, request | {"request_id": "another"})
    eventually(lambda: supervised.process.poll() is not None, "the supervisor to end")
    assert gone(server)
    assert supervised.endpoint.state is State.READY  # the file belongs to the other server now
    assert "another server is asked for meanwhile" in supervised.log.read_text()


@pytest.mark.parametrize(("code", "text"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "signal SIGKILL")])
def test_how_a_process_ended_is_said_in_words(code, text):
    assert exit_text(code) == text


def test_patience_is_lost_only_without_a_break():
    now = [0.0]
    patience = Patience(10, lambda: now[0])
    now[0] = 9
    assert not patience.lost()
    patience.good()
    now[0] = 18
    assert not patience.lost()
    now[0] = 20
    assert patience.lost()


def test_a_group_that_ignores_the_request_to_end_is_killed_as_a_whole(tmp_path, eventually, gone):
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "member = os.fork()\n"
        "if member:\n"
        "    print(json.dumps([os.getpid(), member]), flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "group.log"
    child = start_child([sys.executable, "-c", f"import json\n{code}"], dict(os.environ), log)
    pids = eventually(lambda: log.exists() and log.read_text())
    stop_group(child, polite_s=0.3)
    assert child.returncode == -signal.SIGKILL
    for pid in json.loads(pids):
        eventually(lambda pid=pid: not psutil.pid_exists(pid) or gone(psutil.Process(pid)), "its end")


def test_a_group_that_is_gone_already_is_no_error(tmp_path):
    child = start_child([sys.executable, "-c", ""], dict(os.environ), tmp_path / "log")
    child.wait()
    stop_group(child)


def test_a_childs_words_go_to_the_end_of_its_log(tmp_path):
    log = tmp_path / "logs" / "server.log"
    for word in ("first", "second"):
        assert start_child([sys.executable, "-c", f"print('{word}')"], dict(os.environ), log).wait() == 0
    assert log.read_text() == "first\nsecond\n"


def test_the_command_says_what_it_needs(start_python):
    process = start_python("from captionqa.supervisor import main; main()")
    assert process.wait() == 2
    assert "folder replica" in process.stderr.read()
