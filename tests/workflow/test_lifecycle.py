"""The server's life around a run: failures, signals, killed drivers; nothing is left behind and nothing is lost."""

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from projects import MODEL, PATIENCE_S, ROOT, STYLES, draw_image
from stand_in_server import right_answer

pytestmark = pytest.mark.slow

#: A sitecustomize.py that holds a merge where it opens a chunk, as long as there is a folder that it makes then.
HOLD_MERGE = """
import os, sys, time

def hold(event, arguments):
    if event == "open" and str(arguments[0]).endswith("CHUNK"):
        os.mkdir("HELD")
        while os.path.exists("HELD"):
            time.sleep(0.1)

if sys.orig_argv[-1].endswith(".merge_captions.py"):
    sys.addaudithook(hold)
"""


@pytest.mark.parametrize("arguments", [(), ("--keep-going",)], ids=["stop at once", "keep going"])
def test_a_chunk_that_fails_ends_the_run_names_the_logs_and_leaves_no_server(project, arguments):
    # the delay gives the requests a whole second, less than half of which the verdict rounds away
    project.faults(fault="die", only="<image>Write a very short caption for the given image.", delay_s=1)
    project.config["models"][MODEL]["server"]["max_restarts"] = 0
    text = project.run(*arguments, check=False)
    # those of other prompts lose their server too, and after the first failure the others may be stopped
    named = re.findall(r"(captions SIMPLE|captions SHORT|qa) chunk (\d)-of-2", text)
    assert named
    assert len(named) == len(set(named))
    assert "the server is gone for good" in text
    logs = {"captions SIMPLE": "captions/simple.", "captions SHORT": "captions/short.", "qa": "qa/"}
    for title, chunk in named:
        assert f"log: out/logs/stand-in/{logs[title]}{chunk}-of-2." in text
    assert "server's log: out/logs/stand-in/server-0.log" in text
    assert re.search(r"\n  where .* went: .* requests", text)
    assert not project.processes()

    answered = len(list(project.out.glob("work/stand-in/*/**/chunks/*.jsonl")))
    project.faults()
    project.run()
    ran = project.ran()
    assert ran["start_server"] == 1
    assert ran.get("caption_chunk", 0) + ran.get("answer_chunk", 0) == 6 - answered
    assert len(project.captions("short")) == 10
    assert not project.processes()


def stop(driver, number):
    """End a driver by a signal, which a terminal sends to the whole group."""
    if number == signal.SIGINT:
        os.killpg(driver.pid, number)
    else:
        driver.send_signal(number)
    assert driver.wait(PATIENCE_S) != 0


def test_a_stopped_driver_leaves_no_process_and_the_next_run_asks_only_for_the_rest(project):
    """Stopped by one signal after another, and then let finish."""
    for number in range(10, 40):
        draw_image(project.folder / "images" / f"{number}.png", number)
    items, kept = 40 * len(STYLES) + 6, 0
    # a whole second of requests, less than half of which the verdict rounds away
    project.faults(delay_s=1, hold=5)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        known = project.journaled_texts()
        project.forget_requests()
        driver = project.start()
        project.wait_for(lambda kept=kept: project.journaled() == kept + 5)
        stop(driver, number)
        project.wait_for(lambda: not project.processes())
        # the verdict of a run that was interrupted
        assert number == signal.SIGKILL or re.search(r"\n  where .* went: .* requests", project.printed())
        kept += 5
        assert project.journaled() == kept
        if number != signal.SIGKILL:
            assert "\n  look at the results in a browser: out/report/index.html\n" in project.printed()
            assert project.page()["unfinished"] == {"answered": kept, "failed": 0, "items": items}
        assert not known & {right_answer(request["text"], request["images"]) for request in project.requests()}
    project.faults()
    project.forget_requests()
    project.run()
    assert len(project.requests()) == items - kept
    assert project.asked_once()
    assert "unfinished" not in project.page()
    assert not project.processes()


def test_a_driver_stopped_while_the_server_loads_leaves_no_process_and_the_next_run_starts_anew(project):
    """Stopped by one signal after another, and then let finish."""
    environment = project.config["models"][MODEL]["server"]["env"]
    environment["STAND_IN_LOADING_S"] = "600"
    log = project.out / "logs" / MODEL / "server-0.log"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        log.unlink(missing_ok=True)
        driver = project.start()
        project.wait_for(lambda: log.exists() and "starting generation 1" in log.read_text())
        stop(driver, number)
        project.wait_for(lambda: not project.processes())
    del environment["STAND_IN_LOADING_S"]
    project.run()
    assert len(project.requests()) == 26
    assert project.asked_once()
    assert not project.processes()


def test_a_driver_stopped_while_merging_leaves_no_process_and_the_next_run_merges_without_a_server(
    completed, tmp_path, monkeypatch
):
    merged = completed.out / "captions" / MODEL / f"{MODEL}_simple.json"
    expected = merged.read_bytes()
    merged.unlink()
    held, hooks = tmp_path / "held", tmp_path / "hooks"
    hooks.mkdir()
    chunk = completed.chunks("simple")[-1].name
    (hooks / "sitecustomize.py").write_text(HOLD_MERGE.replace("CHUNK", chunk).replace("HELD", str(held)))
    completed.forget_requests()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with monkeypatch.context() as patched:
            patched.setenv("PYTHONPATH", str(hooks))
            driver = completed.start()
        completed.wait_for(held.exists)
        stop(driver, number)
        assert not merged.exists()
        if number != signal.SIGKILL:
            completed.wait_for(lambda: not completed.processes())
            held.rmdir()
    assert completed.processes()  # the merge goes on alone, and may not write once the next run is there
    completed.run()
    completed.wait_for(lambda: not completed.processes())
    assert merged.read_bytes() == expected
    assert completed.requests() == []


def test_a_run_right_after_a_killed_driver_takes_its_server_over(project):
    project.config["models"][MODEL]["server"]["lease_timeout_s"] = PATIENCE_S
    project.config["captions"]["chunks"] = 8  # most have not begun by then
    project.faults(hold=4)
    driver = project.start()
    project.wait_for(lambda: project.journaled() == 4)
    server = json.loads((project.out / "work" / MODEL / "server" / "ready.json").read_text())
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    project.faults()
    project.wait_for(lambda: not project.processes("ask_chunk"))  # the takeover would end them, and ask again
    text = project.run()
    assert "taken over" in text
    (line,) = (line for line in text.splitlines() if line.startswith("  where "))
    assert " requests, " in line
    assert json.loads((project.out / "work" / MODEL / "server" / "ready.json").read_text()) == server
    assert project.asked_once()
    assert not project.processes()


@pytest.mark.usefixtures("small")
def test_a_second_driver_on_the_same_output_is_refused(project):
    project.faults(hold=0)
    driver = project.start()
    project.wait_for(lambda: len(project.requests()) > 2)
    text = project.run(check=False)
    assert f"another run works on this output folder (process {driver.pid} on {socket.gethostname()})" in text
    driver.send_signal(signal.SIGTERM)
    driver.wait(PATIENCE_S)


def test_a_server_that_crashes_is_replaced_and_no_item_fails(project):
    project.faults(fault="die", once=True, only="<image>Write a very short caption for the given image.")
    text = project.run()
    assert len(project.captions("short")) == 10
    assert project.captions("short", "_failures") == {}
    server = project.captions("short", "_provenance")["servers"][-1]
    assert server["generation"] == 2
    assert [restart["reason"] for restart in server["restarts"]] == ["its process ended with exit code 3"]
    report = text.split("captionqa: done")[1]
    assert "server 0 was started again once" in report
    assert "server's log: out/logs/stand-in/server-0.log" in report


@pytest.mark.usefixtures("small")
def test_replicas_share_the_work_and_a_port_in_use_is_not_an_error(project):
    project.config["models"][MODEL]["server"]["replicas"] = 2
    project.faults(hold=0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        project.config["models"][MODEL]["server"]["port"] = port
        driver = project.start()
        project.wait_for(lambda: server_states(project) == ["ready", "ready"])  # a run begins with the first
        project.faults(delay_s=1.2)  # longer than a client goes by what it knows of the servers
        assert driver.wait(PATIENCE_S) == 0, project.printed()
    assert len(project.used_servers()) == 2
    assert f"http://127.0.0.1:{port}" not in project.used_servers()
    assert len(project.captions()) == 10
    assert not project.processes()


def server_states(project):
    """What the servers are doing, in the order of their numbers."""
    files = sorted((project.out / "work" / MODEL / "server").glob("endpoint-*.json"))
    return [json.loads(file.read_text())["state"] for file in files]


def test_a_server_that_cannot_start_fails_at_once_with_the_end_of_its_log(project):
    project.config["models"][MODEL]["server"]["env"]["STAND_IN_FAIL_START"] = "no such thing as a free lunch"
    text = project.run(check=False)
    assert "start_server failed: the server did not start: server 0: its process ended with exit code 1" in text
    assert "no such thing as a free lunch" in text
    assert project.requests() == []
    assert not project.processes()


def test_a_server_that_serves_another_model_is_not_trusted(project):
    project.config["models"][MODEL]["server"]["extra_args"] = ["--served-model-name", "another"]
    text = project.run(check=False)
    assert "serves 'another', not 'stand-in'" in text
    assert project.requests() == []


@pytest.fixture
def small_disk(project):
    """A disk of its own for the output, that a test can fill."""
    project.out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=400", "captionqa-test", str(project.out)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a full disk needs a file system of its own, which only root may mount: {done.stderr.strip()}")
    yield project.out
    project.kill()
    subprocess.run(["umount", "--lazy", str(project.out)], check=True)


def test_a_full_disk_ends_the_run_in_words_and_with_room_the_next_run_asks_only_for_the_rest(project, small_disk):
    project.faults(hold=3)
    driver = project.start()
    project.wait_for(lambda: project.journaled() == 3)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(8 * 2**20))
    project.faults()
    assert driver.wait(PATIENCE_S) != 0
    project.wait_for(lambda: not project.processes())
    assert re.search(r"chunk \d-of-2 failed: the disk is full: make room in out", project.printed())
    assert "the disk is full: make room in out and run the same command again." in project.printed()
    assert "Logging error" not in project.printed()
    kept = project.journaled()
    project.forget_requests()
    filler.unlink()
    project.run()
    assert len(project.requests()) == 26 - kept
    assert project.asked_once()
    assert len(project.captions()) == len(project.captions("short")) == 10
    assert not project.processes()


def test_a_disk_without_inodes_ends_the_run_in_words_and_the_next_run_asks_only_for_the_rest(project, small_disk):
    project.faults(hold=3)
    driver = project.start()
    project.wait_for(lambda: project.journaled() == 3)
    fillers = small_disk / "fillers"
    fillers.mkdir()
    with pytest.raises(OSError, match="No space left"):
        fill_with_files(fillers)
    project.faults()
    assert driver.wait(PATIENCE_S) != 0
    # a path relative to the folder of the run, or absolute where Snakemake itself found no inode and left that folder
    said = rf"the disk holds all the files that it can: delete some in ({project.out}|out)\S* and run the same"
    assert re.search(said, project.printed())
    project.wait_for(lambda: not project.processes())  # by the lease, whose end could not be written
    kept = project.journaled()
    shutil.rmtree(fillers)
    project.forget_requests()
    project.run()
    assert len(project.requests()) == 26 - kept
    assert project.asked_once()


def fill_with_files(folder):
    for number in range(1000):
        (folder / str(number)).touch()


@pytest.fixture
def existing_server(project, monkeypatch):
    """A server that somebody else started, with a key."""
    monkeypatch.setenv("OUR_KEY", "open sesame")
    environment = {
        **os.environ,
        "VLLM_API_KEY": "open sesame",
        "STAND_IN_REQUESTS": str(project.folder / "requests.jsonl"),
    }
    command = [sys.executable, str(ROOT / "tests" / "stand_in_server.py"), "--served-model-name", MODEL]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    port = server.stdout.readline().split()[-1].rstrip(")")
    yield f"http://127.0.0.1:{port}/v1"
    server.kill()
    server.wait()


@pytest.mark.usefixtures("small")
def test_an_existing_server_is_used_and_neither_started_nor_stopped(project, existing_server):
    project.config["models"][MODEL] |= {"url": existing_server, "api_key_env": "OUR_KEY"}
    project.run()
    assert len(project.captions()) == 10
    assert not (project.out / "logs" / MODEL / "server-0.log").exists()
    completed_requests = len(project.requests())
    project.config["captions"]["max_tokens"] = 5
    project.run()
    assert len(project.requests()) == completed_requests + 10


def test_an_existing_server_with_another_key_is_a_clear_error(project, existing_server):
    project.config["models"][MODEL] |= {"url": existing_server}
    text = project.run(check=False)
    assert "refused the API key (HTTP 401); see api_key_env" in text


@pytest.fixture
def elsewhere(small, monkeypatch):
    """The project, whose jobs go to a scheduler that captionqa has no launcher for; each starts Snakemake again."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "another_executor"))
    small.arguments = ("--executor", "elsewhere", "--jobs", "2", "--seconds-between-status-checks", "1")
    return small


def test_an_executor_that_cannot_start_a_server_is_refused_in_one_sentence(elsewhere):
    text = elsewhere.run(check=False)
    assert (
        "captionqa: the executor 'elsewhere' cannot start a server: use executor slurm or local, or start the server "
        f"yourself and name it with models.{MODEL}.url.\n"
    ) in text
    assert "Traceback" not in text
    assert not elsewhere.requests()
    assert not (elsewhere.out / "logs" / MODEL).exists()


def test_any_executor_works_with_an_existing_server(elsewhere, existing_server):
    elsewhere.config["models"][MODEL] |= {"url": existing_server, "api_key_env": "OUR_KEY"}
    elsewhere.run()
    assert len(elsewhere.captions()) == 10


def test_too_many_failures_fail_the_run_after_all_files_are_written(project):
    (project.folder / "images" / "a" / "7.png").unlink()  # fails question q5
    needle = "<image>Write a very short caption for the given image."
    project.faults(fault={"status": 400}, only=needle)
    text = project.run(check=False)
    report = text.rpartition("captionqa: done in")[2]
    assert "Done, but 9 of 9 images failed (limit 5 %): 9 request_rejected." in report
    assert "out/captions/stand-in/stand-in_short_failures.json" in report
    assert "questions failed" not in report  # a missing image does not count
    assert "look at the results in a browser: out/report/index.html" in text
    assert (project.out / "report" / "index.html").exists()
    assert project.captions("short") == {}
    assert len(project.captions("simple")) == 9
    assert project.qa("metrics")["total_questions"] == 6

    project.faults()
    project.forget_requests()
    assert project.plan() == {"check_failures": 1, "default": 1}
    project.config["client"]["max_failed_fraction"] = 0.2
    assert "9 failed items" in project.captionqa("retry-failed", "--task", "captions")
    project.run()
    assert len(project.requests()) == 9
    assert len(project.captions("short")) == 9


def test_a_poison_image_fails_alone_and_the_rest_goes_on(project):
    poison = project.folder / "images" / "poison.png"
    draw_image(poison, 99)
    digest = hashlib.sha256(poison.read_bytes()).hexdigest()[:12]
    project.faults(fault="die", only=digest)
    project.config["models"][MODEL]["server"]["max_restarts"] = 20
    project.config["client"] |= {"max_failed_fraction": 0.5, "concurrency": 1}
    del project.config["qa"]
    project.config["captions"]["prompt_styles"] = ["SIMPLE"]
    project.run()
    failures = project.captions("simple", "_failures")
    assert failures["poison.png"]["detail"].startswith("the server crashed 2 times")
    assert len(project.captions()) + len(failures) == 11
    assert len(failures) <= 2  # at most one innocent item of the other chunk was under way both times


def test_a_task_that_was_released_before_a_kill_does_not_release_the_next_run(project):
    project.config["models"][MODEL]["server"]["lease_timeout_s"] = PATIENCE_S
    project.config["captions"]["prompt_styles"] = ["SIMPLE"]
    # the captions are still asked for as the questions are done
    project.faults(fault="hang", only="<image>Describe this image in detail.")
    driver = project.start("--cores", "8")
    released = project.out / "work" / MODEL / "server" / "released"
    project.wait_for(lambda: list(released.glob("*.json")))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    project.faults(hold=0, only="<image>What is it?\nA. this\nB. that")
    project.config["captions"]["max_tokens"] = 77
    project.config["qa"]["max_tokens"] = 77
    driver = project.start("--cores", "8")
    # merged once they are released, while questions are still asked for
    project.wait_for(lambda: (project.out / "captions" / MODEL / f"{MODEL}_simple.json").exists())
    project.faults()
    assert driver.wait(PATIENCE_S) == 0, project.printed()
    assert "taken over" in project.printed()
    assert len(project.captions()) == 10
    assert project.qa("metrics")["answered_questions"] == 6


@pytest.mark.usefixtures("small")
def test_a_driver_killed_while_the_server_loads_does_not_spoil_the_next_run(project):
    request = project.out / "work" / MODEL / "server" / "request.json"
    project.config["models"][MODEL]["server"]["lease_timeout_s"] = PATIENCE_S
    project.faults(loading=True)
    driver = project.start()
    project.wait_for(lambda: (project.out / "logs" / MODEL / "server-0.log").exists())
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    asked_for = request.read_text()
    driver = project.start()
    project.wait_for(lambda: request.read_text() != asked_for)  # the first server loads until it is replaced
    project.faults()
    assert driver.wait(PATIENCE_S) == 0, project.printed()
    assert len(project.captions()) == 10
    project.wait_for(lambda: not project.processes())


def test_one_final_file_can_be_asked_for_alone(project):
    text = project.run(f"out/captions/{MODEL}/{MODEL}_simple.json")
    assert "10 captions SIMPLE" in text
    assert "SHORT" not in text.split("captionqa: done")[1]
    assert len(project.requests()) == 20  # the server is released by a whole task


def test_only_failures_that_still_stand_are_retried(project):
    broken = project.folder / "images" / "broken.png"
    broken.write_bytes(b"no image at all")
    project.config["client"]["max_failed_fraction"] = 0.5
    project.run()
    draw_image(broken, 55)
    project.run()
    assert "0 failed items" in project.captionqa("retry-failed")
    assert project.plan() == {}


def test_forgetting_a_style_asks_for_it_alone(completed):
    assert "10 items were forgotten" in completed.captionqa("forget", "--style", "short")
    completed.forget_requests()
    completed.run()
    assert {request["text"] for request in completed.requests()} == {
        "<image>Write a very short caption for the given image."
    }
    assert len(completed.requests()) == 10


def test_a_chunk_that_is_run_again_by_force_has_a_server(completed):
    (completed.folder / "images" / "broken.png").write_bytes(b"no image at all")
    completed.config["client"]["max_failed_fraction"] = 0.5
    completed.run()
    completed.forget_requests()
    text = completed.run("--forcerun", "caption_chunk")
    assert "the server is healthy" in text
    assert completed.requests() == []
    assert len(completed.captions()) == 10
