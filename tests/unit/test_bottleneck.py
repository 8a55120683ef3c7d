"""The verdict: a run's files become figures, and the figures one bottleneck, the strongest, and never a guess."""

import dataclasses
import time

import pytest
from captionqa.client import item as item_module
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.layout import Layout
from captionqa.driver import bottleneck as bottleneck_module
from captionqa.driver.bottleneck import Bottleneck, find_bottleneck
from captionqa.driver.load_figures import ClientLoad, ServerLoad, client_load, server_load
from captionqa.driver.phases import RequestTime
from captionqa.driver.verdict import run_verdict
from captionqa.files import read_json, write_json
from captionqa.run.job_times import record_job_time
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.load_log import LoadLog
from captionqa.server.probe import EngineLoad

LONG = RequestTime(600.0, 0.0, 0.0)
#: No bottleneck: the server is at work and has no queue, the clients have free slots and little to do.
EASY_SERVER = ServerLoad(looks=120, full=0.1, idle=0.0, cache_full=0.0, requests=5.0, preemptions=0.0)
EASY_CLIENTS = ClientLoad(jobs=8, at_a_time=2.0, cores=0.2, busy=3.0, asking=2.5, asked=9000)


@pytest.fixture
def decide(make_config, monkeypatch):
    """The bottleneck of easy figures with some of them changed."""
    monkeypatch.setattr(bottleneck_module.os, "cpu_count", lambda: 32)

    def find(server=None, clients=None, asking=None, changes=None, slurm=False):
        side = None if server is False else dataclasses.replace(EASY_SERVER, **(server or {}))
        clients = dataclasses.replace(EASY_CLIENTS, **(clients or {}))
        asking = dataclasses.replace(LONG, **(asking or {}))
        return find_bottleneck(asking, side, clients, make_config(changes), slurm)

    return find


def test_where_nothing_is_the_limit_nothing_is_advised(decide):
    assert decide() == Bottleneck(
        "neither",
        "requests waited in the server's queue in 10 % of 120 samples, each client job used 0.20 cores and had 2 "
        "requests in flight: no clear limit",
    )


def test_a_server_with_a_queue_is_the_limit_whatever_the_clients_do(decide):
    bottleneck = decide({"full": 0.93}, {"cores": 1.0, "busy": 4.0})
    assert bottleneck.limit == "server"
    assert bottleneck.evidence == (
        "requests waited in the server's queue in 93 % of 120 samples: the server is the limit"
    )
    assert "server.replicas" in bottleneck.advice


@pytest.mark.parametrize("extra_args", [["--max-num-seqs", "8"], ["--max_num_seqs=8"]])
def test_a_server_that_the_user_holds_back_is_let_go_first(decide, extra_args):
    arguments = {"models": {"tiny": {"server": {"extra_args": extra_args}}}}
    assert "--max-num-seqs" in decide({"full": 0.93}, changes=arguments).advice


@pytest.mark.parametrize("figures", [{"cache_full": 0.8}, {"preemptions": 900.0}], ids=["full", "preemptions"])
@pytest.mark.parametrize(
    ("arguments", "slurm", "knob"),
    [
        ([], False, "--gpu-memory-utilization in server.extra_args"),
        (["--gpu-memory-utilization=0.95"], False, "server.tensor_parallel_size"),
        (["--gpu_memory_utilization", "0.95"], False, "server.tensor_parallel_size"),
        (["--gpu-memory-utilization", "0.95"], True, "start_server's gpu"),
    ],
)
def test_a_full_cache_is_named_as_the_reason(decide, figures, arguments, slurm, knob):
    changes = {"models": {"tiny": {"server": {"extra_args": arguments}}}}
    bottleneck = decide({"full": 0.9} | figures, changes=changes, slurm=slurm)
    assert bottleneck.limit == "memory"
    assert knob in bottleneck.advice


def test_a_full_cache_without_a_queue_is_no_limit(decide):
    assert decide({"full": 0.3, "cache_full": 0.3}).limit == "neither"


@pytest.mark.parametrize(
    ("clients", "slurm", "knob"),
    [
        ({"jobs": 8}, True, "(jobs in the profile)"),
        ({"jobs": 8}, False, "(cores in the profile)"),
        ({"jobs": 2}, True, "(captions.chunks and qa.chunks)"),
    ],
)
def test_clients_that_use_up_their_core_are_the_limit(decide, clients, slurm, knob):
    bottleneck = decide(clients={"cores": 0.95, "busy": 4.0, "asking": 3.0} | clients, slurm=slurm)
    assert bottleneck.limit == "clients"
    assert bottleneck.advice.endswith(knob)


def test_more_clients_are_not_advised_where_the_machine_is_used_up(decide, monkeypatch):
    monkeypatch.setattr(bottleneck_module.os, "cpu_count", lambda: 2)
    bottleneck = decide(clients={"cores": 0.9})
    assert bottleneck == Bottleneck(
        "clients", "each client job used 0.90 cores, and the server had no queue: this machine's 2 cores are the limit"
    )
    assert decide(clients={"cores": 0.9}, slurm=True).advice is not None


def test_threads_that_wait_for_files_show_a_slow_file_system(decide):
    bottleneck = decide(clients={"busy": 4.0, "asking": 1.0, "cores": 0.1})
    assert bottleneck.limit == "files"
    assert "spent 75 % of their time on files, with 0.10 cores at work in each" in bottleneck.evidence
    assert "dataset_path" in bottleneck.advice


def test_requests_that_have_not_reached_the_engine_are_being_prepared(decide):
    many = {"client": {"concurrency": 64}}
    bottleneck = decide({"requests": 20.0}, {"busy": 64.0, "asking": 63.0}, changes=many)
    assert bottleneck.limit == "preparing"
    assert "of 126 requests in flight on average 20 were in the server's engine" in bottleneck.evidence
    assert "client.images.max_pixels" in bottleneck.advice


def test_slots_that_are_all_taken_before_a_server_without_a_queue_are_too_few(decide):
    bottleneck = decide({"requests": 7.0}, {"busy": 3.9, "asking": 3.8})
    assert bottleneck.limit == "slots"
    assert bottleneck.evidence == (
        "all 4 request slots of the client jobs were taken, and requests waited in the server's queue in 10 % of 120 "
        "samples: it could take more"
    )
    assert "client.concurrency" in bottleneck.advice


def test_a_concurrency_that_finds_its_own_level_is_left_alone(make_config):
    config = make_config({"client": {"concurrency": "auto"}})
    clients = dataclasses.replace(EASY_CLIENTS, busy=60.0, asking=59.0)
    assert find_bottleneck(LONG, dataclasses.replace(EASY_SERVER, requests=110.0), clients, config).limit == "neither"


def test_of_a_server_that_nobody_looked_at_nothing_is_claimed(decide):
    bottleneck = decide(False, {"busy": 3.9, "asking": 3.8})
    assert bottleneck.limit == "server_or_slots"
    assert "samples" not in bottleneck.evidence
    assert bottleneck.advice.startswith("if the server has no requests waiting")
    assert decide(False).evidence.startswith("the load of the server is not known")


def test_a_server_whose_requests_often_wait_is_not_sent_more_at_once(decide):
    assert decide({"requests": 7.0, "full": 0.4}, {"busy": 3.9, "asking": 3.8}).limit == "neither"


def test_few_looks_tell_nothing(decide):
    bottleneck = decide({"looks": 9, "full": 1.0}, {"cores": 1.0})
    assert bottleneck.limit == "unknown"
    assert bottleneck.evidence.startswith("9 samples of the server's load")


def test_a_short_run_tells_nothing(decide):
    bottleneck = decide({"full": 1.0}, {"cores": 1.0}, {"seconds": 12.0})
    assert bottleneck == Bottleneck("unknown", "requests ran for less than 30 s, too short to identify the bottleneck")


def test_a_server_that_was_gone_is_told_before_all_else(decide):
    bottleneck = decide({"full": 1.0}, asking={"without_server_s": 200.0})
    assert bottleneck.limit == "no_server"
    assert "no server was healthy for 3 min 20 s of 10 min 0 s" in bottleneck.evidence


@pytest.mark.parametrize(("slurm", "words"), [(True, "slurm_partition"), (False, "captions.chunks")])
def test_clients_that_had_to_wait_for_their_turn_are_told(decide, slurm, words):
    bottleneck = decide({"full": 1.0}, asking={"without_client_s": 200.0}, slurm=slurm)
    assert bottleneck.limit == "no_client"
    assert words in bottleneck.advice


@pytest.fixture
def finished(make_config, monkeypatch):
    """The files of a run of 100 s that sent requests to one server from 20 to 80 s; gives configuration and layout."""
    config = make_config()
    layout = Layout(config.output_dir, "tiny")
    write_json(layout.server_files.run, {"server_needed": True, "slurm": None})
    for name, start, end in (
        ("start_server", 2, 19),
        ("captions_SIMPLE_chunk_0-of-2", 20, 60),
        ("captions_SIMPLE_chunk_1-of-2", 40, 80),
        ("merge_captions_simple", 81, 90),
    ):
        monkeypatch.setattr(time, "time", lambda end=end: float(end))
        record_job_time(layout.job_times, name, float(start))
    for number, cpu_s in enumerate((10.0, 30.0)):
        counts = {"total": 50, "done": 50, "failed": 0, "reused": 10, "shared": 0}
        seconds = {"wall_s": 40.0, "cpu_s": cpu_s, "working_s": 20.0, "asking_s": 140.0}
        write_json(layout.progress / f"captions_SIMPLE_chunk_{number}-of-2.json", counts | seconds)
    entry = Endpoint(0, "request", "settings", "tiny", pid=7)
    for at, state in ((3, State.STARTING), (19, State.READY), (85, State.DEAD)):
        entry.state = state
        monkeypatch.setattr(time, "time", lambda at=at: float(at))
        entry.publish(layout.server)
    log, preemptions = LoadLog(layout.server, 0, "request"), 0
    for at in range(0, 100, 2):
        monkeypatch.setattr(time, "time", lambda at=at: float(at))
        preemptions = 0 if at == 50 else preemptions + (at % 4 == 0)  # it was started again
        waiting = 3 if 30 <= at <= 80 else 0
        log.add(EngineLoad(8 if 20 <= at <= 80 else 0, at, waiting, 0.99 if at >= 78 else 0.2, preemptions))
    monkeypatch.undo()
    return config, layout


def test_the_files_of_a_run_become_its_verdict(finished):
    config, layout = finished
    text = run_verdict(config, layout, (0.0, 100.0), 1.0)
    assert text.splitlines() == [
        "where 1 min 40 s went: 1 s planning, 17 s server start, 1 s until the first client job, 1 min 0 s requests, "
        "9 s merging, 12 s other",
        "  requests waited in the server's queue in 84 % of 31 samples; its KV cache was full in 6 % of them, and "
        "running requests were preempted 15 times: the server's memory is the limit",
        "  raise --gpu-memory-utilization in server.extra_args",
    ]
    kept = read_json(layout.verdict)
    assert sum(kept["phases"].values()) == pytest.approx(kept["seconds"]) == 100
    assert kept["limit"] == "memory"
    assert kept["server"]["looks"] == 31


def test_only_what_was_seen_while_clients_ran_counts(finished):
    _, layout = finished
    side = server_load(layout, [(20.0, 28.0), (90.0, 98.0)])
    assert (side.looks, side.full, side.idle, side.requests) == (10, 0.0, 0.5, 4.0)
    assert server_load(layout, [(200.0, 300.0)]) is None


def test_the_clients_figures_are_those_of_a_mean_job(finished):
    _, layout = finished
    spans = [(20.0, 60.0), (40.0, 80.0)]
    assert client_load(layout, spans) == ClientLoad(2, 80 / 60, cores=0.5, busy=4.0, asking=3.5, asked=80)


def test_a_run_that_asked_for_nothing_has_no_verdict(make_config, finished):
    config, layout = finished
    for path in layout.progress.glob("*.json"):
        write_json(path, read_json(path) | {"reused": 50})
    assert run_verdict(config, layout, (0.0, 100.0), 1.0) is None
    untouched = Layout(config.output_dir, "another")
    assert run_verdict(config, untouched, (0.0, 100.0), 1.0) is None


def slow_file_system(monkeypatch):
    read = item_module.read_stamped
    monkeypatch.setattr(item_module, "read_stamped", lambda path: time.sleep(0.1) or read(path))


def slow_encoding(monkeypatch):
    encode = item_module.encode_image

    def work(*arguments):
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        return encode(*arguments)

    monkeypatch.setattr(item_module, "encode_image", work)


@pytest.fixture
def figures(jobs, images, server):
    """Run a chunk of 24 images; gives the job's progress file."""
    images.add(*(f"{number}.png" for number in range(24)))

    def run():
        (job,) = jobs()
        ChunkRun(job).run()
        return read_json(job.progress)

    return run


def test_a_slow_server_shows_in_the_threads_that_ask(figures, server):
    server.set(delay_s=0.2)
    found = figures()
    assert found["asking_s"] >= 24 * 0.2
    assert found["asking_s"] > found["working_s"]
    assert found["asking_s"] + found["working_s"] <= 4 * found["wall_s"]


def test_a_slow_file_system_shows_in_the_threads_that_do_not_ask(figures, monkeypatch):
    slow_file_system(monkeypatch)
    found = figures()
    assert found["working_s"] >= 24 * 0.1


def test_a_client_at_work_shows_in_the_processor_s_time(figures, monkeypatch):
    slow_encoding(monkeypatch)
    found = figures()
    assert found["cpu_s"] >= 24 * 0.02
    assert found["working_s"] >= 24 * 0.02
