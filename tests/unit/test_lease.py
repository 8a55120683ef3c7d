"""The lease: one driver at a time; released or expired, by the reader's own clock, it ends the run."""

import errno
import fcntl
import os
import re
import signal
import socket
import time
from pathlib import Path

import psutil
import pytest
from captionqa.config.server_files import ServerFiles
from captionqa.errors import RunStoppedError
from captionqa.files import read_json, write_json
from captionqa.run import lease
from captionqa.run.lease import LeaseKeeper, LeaseTakenError, LeaseWatch, live_lease
from captionqa.run.process_identity import process_start, same_process

KEEP = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from captionqa.run.lease import LeaseKeeper\n"
    "LeaseKeeper(Path(sys.argv[1])).start()\n"
    "print('held', flush=True)\n"
    "time.sleep(600)\n"
)


@pytest.fixture
def path(server_folder):
    return ServerFiles(server_folder).lease


@pytest.fixture
def other_driver(server_folder, start_python):
    """Another driver, in its own process, that holds the lease."""
    process = start_python(KEEP, server_folder)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def write_lease(path):
    """Write a lease file without a driver; keywords change its fields."""

    def write(**changes):
        known = {
            "run_id": "run",
            "state": "held",
            "counter": 1,
            "host": socket.gethostname(),
            "pid": 1,
            "process_started": process_start(1),
            "written": time.time(),
        }
        write_json(path, known | changes)

    return write


def test_the_lease_of_a_run_before_says_nothing_about_a_jobs_own(server_folder, write_lease, monkeypatch):
    monkeypatch.setenv(lease.RUN_VARIABLE, "2")
    for any_run in (False, True):
        watch = LeaseWatch(server_folder, 600, any_run=any_run)
        write_lease(run_id="1", state="released")
        assert watch.end_reason() is None
        write_lease(run_id="2")
        assert watch.end_reason() is None
        write_lease(run_id="3")
        assert watch.end_reason() == (None if any_run else "another run has taken over")


def test_ids_of_runs_sort_by_time(server_folder):
    first = LeaseKeeper(server_folder)
    time.sleep(0.01)
    assert first.run_id < LeaseKeeper(server_folder).run_id


def test_the_counter_moves_while_the_driver_lives(server_folder, path, monkeypatch, eventually):
    monkeypatch.setattr(lease, "RENEW_INTERVAL_S", 0.02)
    keeper = LeaseKeeper(server_folder)
    keeper.start()
    first = read_json(path)
    assert first["state"] == "held"
    eventually(lambda: read_json(path)["counter"] > first["counter"] + 2, "a moving counter")
    keeper.release()
    assert read_json(path)["state"] == "released"
    assert read_json(path)["run_id"] == keeper.run_id


def test_a_released_lease_stays_released(server_folder, path, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_INTERVAL_S", 0.01)
    keeper = LeaseKeeper(server_folder)
    keeper.start()
    keeper.release()
    keeper.release()
    last = read_json(path)
    time.sleep(0.1)
    assert read_json(path) == last


def test_the_servers_of_a_model_go_on_where_the_folder_of_another_is_lost(tmp_path, monkeypatch, eventually):
    monkeypatch.setattr(lease, "RENEW_INTERVAL_S", 0.02)
    lost, kept = tmp_path / "tiny" / "server", tmp_path / "tex" / "server"
    keeper, path = LeaseKeeper(lost, kept), ServerFiles(kept).lease
    keeper.start()
    lost.rename(tmp_path / "elsewhere")
    lost.touch()
    first = read_json(path)
    eventually(lambda: read_json(path)["counter"] > first["counter"] + 2, "a moving counter")
    keeper.release()
    assert read_json(path)["state"] == "released"


def test_a_second_driver_is_refused_by_name(server_folder, other_driver):
    with pytest.raises(LeaseTakenError, match=f"process {other_driver.pid} on {socket.gethostname()}"):
        LeaseKeeper(server_folder).start()


def test_a_second_driver_of_the_same_process_is_refused(server_folder, keeper):
    with pytest.raises(LeaseTakenError):
        LeaseKeeper(server_folder).start()


def test_a_refused_driver_does_not_end_the_others_run(server_folder, keeper):
    refused = LeaseKeeper(server_folder)
    with pytest.raises(LeaseTakenError):
        refused.start()
    refused.release()
    assert live_lease(server_folder)["run_id"] == keeper.run_id
    assert LeaseWatch(server_folder, 60).end_reason() is None


def test_the_lease_of_a_killed_driver_is_free(server_folder, other_driver):
    assert live_lease(server_folder)["pid"] == other_driver.pid
    other_driver.send_signal(signal.SIGKILL)
    other_driver.wait()
    assert live_lease(server_folder) is None
    mine = LeaseKeeper(server_folder)
    mine.start()
    mine.release()


def test_a_killed_driver_that_nobody_has_buried_is_dead(server_folder, other_driver, eventually):
    other_driver.send_signal(signal.SIGKILL)
    eventually(lambda: psutil.Process(other_driver.pid).status() == psutil.STATUS_ZOMBIE)
    assert live_lease(server_folder) is None


def test_the_lease_of_a_released_run_is_free(server_folder, keeper):
    assert live_lease(server_folder)["run_id"] == keeper.run_id
    keeper.release()
    assert live_lease(server_folder) is None


def test_no_lease_has_no_holder(server_folder):
    assert live_lease(server_folder) is None


def test_a_process_that_got_the_drivers_pid_later_is_not_the_driver(server_folder, write_lease):
    write_lease(process_started=process_start(1) - 1000)
    assert live_lease(server_folder) is None


def test_a_lease_of_another_host_counts_for_a_while(server_folder, write_lease):
    write_lease(host="elsewhere")
    assert live_lease(server_folder)["host"] == "elsewhere"
    write_lease(host="elsewhere", written=time.time() - 100_000)
    assert live_lease(server_folder) is None


def test_a_release_is_seen_at_once(server_folder, keeper):
    watch = LeaseWatch(server_folder, 1000)
    watch.check()
    keeper.release()
    with pytest.raises(RunStoppedError, match="the driver stopped the run; finished answers are kept"):
        watch.check()


def test_a_counter_that_stands_still_ends_the_run(server_folder, write_lease, eventually):
    write_lease()
    watch = LeaseWatch(server_folder, 0.2)
    assert watch.end_reason() is None
    assert "no sign of life" in eventually(watch.end_reason, "the end of the lease")


def test_a_counter_that_moves_keeps_the_run_whatever_the_clocks_say(server_folder, write_lease):
    watch = LeaseWatch(server_folder, 0.2)
    for counter in range(6):
        write_lease(counter=counter, written=0.0)
        assert watch.end_reason() is None
        time.sleep(0.08)


def test_a_file_that_is_touched_but_does_not_move_ends_the_run(server_folder, write_lease, path, eventually):
    write_lease()
    watch = LeaseWatch(server_folder, 0.2)

    def touched():
        path.touch()
        return watch.end_reason()

    assert eventually(touched, "the end of the lease")


def test_a_server_passes_from_a_lost_driver_to_the_next(server_folder, write_lease):
    watch = LeaseWatch(server_folder, 0.2, any_run=True)
    write_lease(run_id="first", counter=5)
    assert watch.end_reason() is None
    time.sleep(0.15)
    write_lease(run_id="second", counter=5)
    assert watch.end_reason() is None
    time.sleep(0.15)
    write_lease(run_id="second", counter=6)
    assert watch.end_reason() is None


def test_a_job_does_not_pass_to_another_driver(server_folder, write_lease):
    watch = LeaseWatch(server_folder, 1000)
    write_lease(run_id="first")
    assert watch.end_reason() is None
    write_lease(run_id="second")
    with pytest.raises(RunStoppedError, match="another run has taken over"):
        watch.check()


def test_without_a_lease_the_run_ends_after_the_same_time(server_folder, eventually):
    assert LeaseWatch(server_folder, 1000).end_reason() is None
    assert eventually(LeaseWatch(server_folder, 0.1).end_reason, "the end of the lease")


def test_a_lease_that_cannot_be_read_stands_still(server_folder, path, write_lease, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(lease.time, "monotonic", lambda: now[0])
    write_lease()
    watch = LeaseWatch(server_folder, 10)
    assert watch.end_reason() is None
    path.unlink()
    path.mkdir()
    now[0] += 9
    assert watch.end_reason() is None
    now[0] += 2
    assert "no sign of life for 10 s" in watch.end_reason()


@pytest.mark.parametrize("ending", ["released", "taken over", "told"])
def test_a_job_that_waits_for_something_else_ends_with_its_run(
    server_folder, path, keeper, start_python, tmp_path, ending
):
    os.mkfifo(tmp_path / "pipe")
    code = (
        "import sys\nfrom pathlib import Path\nfrom captionqa.run import lease\nlease.POLL_S = 0.05\n"
        "lease.end_with_run(Path(sys.argv[1]))\nprint('waits', flush=True)\nopen(sys.argv[2])"
    )
    environment = {lease.RUN_VARIABLE: keeper.run_id}
    process = start_python(code, server_folder, tmp_path / "pipe", **environment)
    assert process.stdout.readline() == "waits\n"
    time.sleep(0.2)
    assert process.poll() is None
    if ending == "told":
        process.terminate()
    elif ending == "released":
        keeper.release()
    else:
        write_json(path, read_json(path) | {"run_id": f"{keeper.run_id}-next"})
    assert process.wait(20) == 1
    assert ("RunTakenOverError" if ending == "taken over" else "RunStoppedError") in process.stderr.read()


def test_a_process_is_the_same_by_pid_and_start():
    me, started = os.getpid(), process_start(os.getpid())
    assert same_process(me, started)
    assert not same_process(me, started - 60)
    assert not same_process(2**22 + 1, started)


def test_a_process_of_any_name_is_the_same(start_python):
    process = start_python(
        "import pathlib\npathlib.Path('/proc/self/comm').write_text(') Z 1 (')\nprint('named', flush=True)\n"
        "import time; time.sleep(600)"
    )
    assert process.stdout.readline() == "named\n"
    assert same_process(process.pid, process_start(process.pid))


def test_a_process_stays_the_same_when_the_clock_jumps(tmp_path, monkeypatch):
    """After the clock is put forward by an hour, /proc/stat shows a boot one hour later; psutil computes from that."""
    started = process_start(os.getpid())
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    boot = re.search(r"btime (\d+)", Path("/proc/stat").read_text())[1]
    (proc / "stat").write_text(Path("/proc/stat").read_text().replace(f"btime {boot}", f"btime {int(boot) + 3600}"))
    before = psutil.Process().create_time()
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(proc))
    assert psutil.Process().create_time() == pytest.approx(before + 3600, abs=5)
    assert same_process(os.getpid(), started)


def test_runs_follow_each_other_though_the_clock_is_put_back(server_folder, write_lease):
    before = f"{time.time_ns() // 1_000_000 + 3_600_000}-00000000"
    write_lease(run_id=before, state="released")
    keeper = LeaseKeeper(server_folder)
    keeper.start()
    keeper.release()
    assert read_json(ServerFiles(server_folder).lease)["run_id"] == keeper.run_id
    assert keeper.run_id > before


def test_a_lease_of_another_host_whose_lock_is_held_is_live_whatever_the_clocks_say(server_folder, keeper, path):
    stored = read_json(path)
    keeper.release()
    write_json(path, stored | {"host": "elsewhere", "written": time.time() - 100_000})
    assert live_lease(server_folder)["host"] == "elsewhere"
    os.close(*keeper._locks)
    assert live_lease(server_folder) is None


def no_locks(*_):
    """flock as on Lustre mounted without its flock option."""
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def test_on_a_file_system_without_locks_the_lease_alone_tells(server_folder, other_driver, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(LeaseTakenError, match=f"process {other_driver.pid} on"):
        LeaseKeeper(server_folder).start()
    other_driver.send_signal(signal.SIGKILL)
    other_driver.wait()
    mine = LeaseKeeper(server_folder)
    mine.start()
    assert live_lease(server_folder)["run_id"] == mine.run_id
    mine.release()


def test_a_lock_of_another_host_on_a_file_system_without_locks_says_nothing(server_folder, keeper, path, monkeypatch):
    stored = read_json(path)
    keeper.release()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    write_json(path, stored | {"host": "elsewhere", "written": time.time() - 100_000})
    assert live_lease(server_folder) is None
    write_json(path, stored | {"host": "elsewhere", "written": time.time()})
    assert live_lease(server_folder)["host"] == "elsewhere"


def test_a_driver_that_has_left_its_working_folder_still_releases_its_own_lease(tmp_path, monkeypatch):
    for name in ("project", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "project")
    keeper = LeaseKeeper(Path("out/server"))
    keeper.start()
    monkeypatch.chdir(tmp_path / "elsewhere")
    keeper.release()
    assert read_json(ServerFiles(tmp_path / "project" / "out" / "server").lease)["state"] == "released"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_release_that_cannot_be_written_is_no_error_so_that_the_server_is_still_stopped(tmp_path):
    folder = tmp_path / "server"
    keeper = LeaseKeeper(folder)
    keeper.start()
    folder.rename(tmp_path / "gone")
    folder.write_text("a file in the folder's place")
    keeper.release()


def test_a_run_of_several_models_takes_the_lease_of_all_or_of_none(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    before = LeaseKeeper(other)
    before.start()
    with pytest.raises(LeaseTakenError):
        LeaseKeeper(one, other).start()
    alone = LeaseKeeper(one)
    alone.start()  # the refused run keeps no lock
    alone.release()
    before.release()
    os.close(*alone._locks)  # as the end of their processes does
    os.close(*before._locks)
    both = LeaseKeeper(one, other)
    both.start()
    assert [live_lease(folder)["run_id"] for folder in (one, other)] == [both.run_id] * 2
    both.release()
    assert [live_lease(folder) for folder in (one, other)] == [None, None]
