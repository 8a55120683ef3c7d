"""A chunk killed at each of its file system calls: nothing journaled is asked for again, and nothing is lost."""

import dataclasses
import hashlib
import json
import pickle
import signal

import pytest
from captionqa.files import read_json_lines

#: For each step: runs a chunk, kills it at that step, runs it again and prints a line. Stops after the last step.
#: A write counts as three steps: before it, in the middle of it, and after it.
KILLED_AT_EACH_STEP = """
import dataclasses, itertools, json, os, pickle, signal, sys, threading
from captionqa.client import chunk_run
from captionqa.files import read_json_lines
from PIL import Image  # noqa: F401 - imported once for all children

chunk_run.HEARTBEAT_S = 0.02
STEPS = ("write", "fsync", "replace", "chmod", "ftruncate", "close", "open", "unlink", "mkdir")


def count_steps(last):
    left, lock = [last], threading.Lock()

    def step():
        with lock:
            left[0] -= 1
            if left[0] <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted(name, do):
        def call(*arguments, **keywords):
            if name == "write":
                step()
                half = len(arguments[1]) // 2
                written = do(arguments[0], arguments[1][:half])
                step()
                written += do(arguments[0], arguments[1][half:])
            else:
                step()
                written = do(*arguments, **keywords)
            step()
            return written

        return call

    for name in STEPS:
        setattr(os, name, counted(name, getattr(os, name)))


def run(job, last=None):
    child = os.fork()
    if child == 0:
        try:
            if last is not None:
                count_steps(last)
            chunk_run.ChunkRun(job).run()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def journaled(folder):
    return [line["id"] for path in folder.glob("journal/*.jsonl") for line in read_json_lines(path)]


with open(sys.argv[1], "rb") as file:
    job = pickle.load(file)
for last in itertools.count(1):
    folder = job.result.parent / str(last)
    mine = dataclasses.replace(
        job,
        result=folder / "result.jsonl",
        journal=folder / "journal",
        progress=folder / "progress.json",
        settings={**job.settings, "prompt": f"step {last}"},
    )
    code = run(mine, last)
    kept = journaled(folder)
    again = run(mine)
    print(json.dumps({"step": last, "code": code, "again": again, "kept": kept, "all": journaled(folder)}), flush=True)
    if code == 0:
        break
"""
NAMES = [f"{number}.png" for number in range(4)]


@pytest.mark.slow
def test_a_chunk_killed_at_any_step_loses_nothing_and_asks_for_nothing_twice(
    images, server, jobs, start_python, tmp_path
):
    images.add(*NAMES)
    (images.path / "twin.png").write_bytes((images.path / NAMES[0]).read_bytes())
    job = jobs(changes={"client": {"concurrency": 2}})[0]
    job = dataclasses.replace(job, items=job.items.resolve(), result=tmp_path / "steps" / "result.jsonl")
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
    process = start_python(KILLED_AT_EACH_STEP, tmp_path / "job.pickle")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    runs = [json.loads(line) for line in output.splitlines()]
    assert [run["code"] for run in runs] == [-signal.SIGKILL] * (len(runs) - 1) + [0]
    assert len(runs) > 40
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in images.path.iterdir()
    }  # as the stand-in names images in its answers
    for run in runs:
        assert run["again"] == 0, errors
        asked = [request["images"][0] for request in server.asked if request["text"] == f"<image>step {run['step']}"]
        result = tmp_path / "steps" / str(run["step"]) / "result.jsonl"
        header, *lines = read_json_lines(result)
        assert sorted(run["all"]) == sorted(digests), run
        assert {line["id"] for line in lines} == {*NAMES, "twin.png"}
        assert all(digests[line["id"]] in line["answer"]["text"] for line in lines), run
        assert header["known"] >= len(set(run["kept"]))
        for name in run["kept"]:
            # An identical item without a line is asked for too, if the rerun comes to it before the one with a line has
            # settled. Only neighbours in the queue can do that, so it costs a request per killed job; an index of all
            # journaled requests would cost memory for each item, and segments are read one by one.
            has_twin_without_line = any(digests[other] == digests[name] for other in digests.keys() - {*run["kept"]})
            assert asked.count(digests[name]) in ((1, 2) if has_twin_without_line else (1,)), run
