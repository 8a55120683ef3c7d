"""The verdict: a run's files become figures, and the figures one bottleneck, the strongest, and never a guess."""

import dataclasses
import fcntl
import os
import time
from pathlib import Path

import pytest
from captionqa.client import item as item_module
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.layout import Layout
from captionqa.dataset import image_source as source_module
from captionqa.driver import bottleneck as bottleneck_module
from captionqa.driver import measured_rates
from captionqa.driver.bottleneck import Bottleneck, JobLengths, find_bottleneck
from captionqa.driver.front_end import ApiServers
from captionqa.driver.load_figures import ClientLoad, ServerLoad, client_load, server_load
from captionqa.driver.measured_rates import VARIABLE, MeasuredRate, rates_file, read_rates
from captionqa.driver.phases import RequestTime
from captionqa.driver.verdict import run_verdict
from captionqa.files import read_json, write_json
from captionqa.run.job_times import record_job_time
from captionqa.server import endpoint, vllm_command
from captionqa.server.chosen_options import ServerJob, choose
from captionqa.server.client_job_times import ClientJobTimes
from captionqa.server.endpoint import Endpoint, State
from captionqa.server.load_log import LoadLog
from captionqa.server.probe import EngineLoad

LONG = RequestTime(600.0, 0.0, 0.0)
#: No bottleneck: the server is at work and has no queue, the clients have free slots and little to do.
EASY_SERVER = ServerLoad(
    looks=120, full=0.1, idle=0.0, cache_full=0.0, requests=5.0, waiting=0.2, preemptions=0.0, tokens_per_s=900.0
)
LONG_CHUNKS = JobLengths(working_s=280.0)
EASY_CLIENTS = ClientLoad(
    jobs=8, at_a_time=2.0, cores=0.2, busy=3.0, asking=2.5, pausing=0.0, asked=9000, answered=9000
)


@pytest.fixture
def decide(make_config, monkeypatch):
    """The bottleneck of easy figures with some of them changed."""
    monkeypatch.setattr(bottleneck_module.os, "cpu_count", lambda: 32)

    def find(server=None, clients=None, asking=None, changes=None, slurm=False, lengths=LONG_CHUNKS, api_servers=None):
        side = None if server is False else dataclasses.replace(EASY_SERVER, **(server or {}))
        clients = dataclasses.replace(EASY_CLIENTS, **(clients or {}))
        asking = dataclasses.replace(LONG, **(asking or {}))
        return find_bottleneck(asking, side, clients, lengths, make_config(changes), slurm, api_servers)

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


#: A thousand of the items had no image, or shared the answer of another.
FRONT = {"busy": 64.0, "asking": 63.0, "asked": 13_000, "answered": 12_000}


@pytest.mark.parametrize(
    ("api_servers", "slurm", "advice"),
    [
        (None, True, "smaller images (a preset of client.images.max_pixels) take less of it, more servers"),
        (ApiServers(1, 1, 8), True, "server.api_servers: 3 fits the 8 cores of the server's job; smaller images"),
        (ApiServers(3, 1, 8), True, "more cores than 8 for the server's job (start_server's cpus_per_task) hold more"),
        (ApiServers(1, 1, None), True, "more cores for the server's job"),
        (ApiServers(1, 1, 4), False, "smaller images"),
        (ApiServers(1, 1, 16), False, "server.api_servers: 3 fits the 16 cores"),
    ],
)
def test_requests_that_have_not_reached_the_engine_are_in_the_front_end(decide, api_servers, slurm, advice):
    # in 0.9 of the samples one request was seen to wait, as vLLM shows each that arrives
    bottleneck = decide({"requests": 20.0, "waiting": 0.9, "full": 0.9}, FRONT, slurm=slurm, api_servers=api_servers)
    assert bottleneck.limit == "front_end"
    assert bottleneck.evidence.startswith(
        "of 126 requests in flight on average 20 were in the server's engine, where 0.9 waited: the others were on "
        "their way or in its front end, for 5.3 of the 6.3 s that a request took"
    )
    assert bottleneck.advice.startswith(advice)


def test_the_front_ends_time_is_that_of_its_api_servers(decide):
    evidence = decide({"requests": 20.0}, FRONT, api_servers=ApiServers(2, 2, 8)).evidence
    assert evidence.endswith("; 4 API servers took 20.0 a second, 200 ms for each: the front end is the limit")


def test_a_front_end_with_few_requests_for_each_api_server_is_not_the_limit(decide):
    """Such as one request at a time, which is on its way and preprocessed for half of its time."""
    few, half = {"busy": 4.0, "asking": 4.0, "at_a_time": 1.0}, {"requests": 2.0, "waiting": 0.0}
    assert decide(half, few, api_servers=ApiServers(1, 1, 8)).limit == "front_end"
    bottleneck = decide(half, few, api_servers=ApiServers(2, 1, 16))
    assert bottleneck.limit == "slots"
    assert bottleneck.advice.startswith("raise client.concurrency")


def test_a_front_end_that_answered_nothing_has_no_rate_to_be_told(decide):
    assert decide({"requests": 20.0}, FRONT | {"answered": 0}).limit != "front_end"


def test_an_engine_that_puts_requests_off_is_the_limit_however_long_they_are_on_their_way(decide):
    assert decide({"requests": 70.0, "waiting": 12.0, "full": 1.0}, FRONT).limit == "server"


def test_requests_that_wait_to_be_sent_again_are_in_no_front_end(decide):
    refused = {"busy": 60.0, "asking": 60.0, "pausing": 45.0}
    for server in ({"requests": 5.0}, False):
        bottleneck = decide(server, refused)
        assert bottleneck.limit == "retries"
        assert bottleneck.evidence.startswith("requests spent 75 % of their time waiting to be sent again")
        assert "429" in bottleneck.advice
    evidence = decide({"requests": 20.0}, FRONT | {"pausing": 13.0}).evidence
    assert evidence.startswith("of 100 requests in flight on average 20 were in the server's engine")


def test_clients_without_time_to_send_are_no_slow_front_end(decide):
    assert decide({"requests": 20.0}, FRONT | {"cores": 0.95}).limit == "clients"


def test_the_api_servers_are_those_of_the_command_line():
    entry = Endpoint(0, "request", "settings", "tiny", argv=["vllm", "serve", "--api-server-count", "3"], cores=8)
    plain = Endpoint(1, "request", "settings", "tiny", argv=["vllm", "serve"])
    assert ApiServers.of([entry, plain]) == ApiServers(3, 2, 8)
    assert ApiServers.of([plain]) == ApiServers(1, 1, None)
    copies = dataclasses.replace(plain, argv=["vllm", "serve", "-dp", "4"], cores=32)
    assert ApiServers.of([copies]) == ApiServers(4, 1, 32, engine_cores=4)
    assert ApiServers.of([Endpoint(0, "request", "settings", "tiny")]) is None


@pytest.mark.parametrize(("cores", "gpus"), [(8, 1), (16, 1), (16, 4), (32, 8)])
def test_as_many_api_servers_are_advised_as_are_started_by_themselves(make_config, cores, gpus):
    settings = make_config({"models": {"tiny": {"server": {"tensor_parallel_size": gpus}}}}).model.server
    chosen = choose(settings, ["vllm", "serve"], ServerJob(cores, False, False), {"images": True, "reuse": True})
    argv = ["vllm", "serve", *vllm_command.arguments(settings, "org/tiny", "tiny", "127.0.0.1", 1)]
    entry = Endpoint(0, "request", "settings", "tiny", argv=argv, cores=cores)
    assert chosen[0].words == ("--api-server-count", str(ApiServers.of([entry]).fitting(slurm=True)))


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
    server = dataclasses.replace(EASY_SERVER, requests=110.0)
    assert find_bottleneck(LONG, server, clients, LONG_CHUNKS, config).limit == "neither"


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


def test_clients_that_waited_in_slurms_queue_are_told(decide):
    lengths = JobLengths(working_s=15.0, wait_s=80.0, ran_s=20.0)
    gap = {"without_client_s": 200.0, "queued_s": 150.0}
    bottleneck = decide({"full": 1.0}, asking=gap, slurm=True, lengths=lengths)
    assert bottleneck.limit == "no_client"
    assert bottleneck.evidence == (
        "no client job ran for 3 min 20 s of 10 min 0 s of requests: 2 min 30 s of that they waited in Slurm's queue"
    )
    assert "slurm_partition" in bottleneck.advice


def test_slurms_queue_is_not_blamed_where_the_chunks_are_too_small(decide):
    lengths = JobLengths(working_s=4.0, wait_s=0.6, ran_s=15.0)
    gap = {"without_client_s": 200.0, "queued_s": 8.0}
    bottleneck = decide({"full": 1.0}, asking=gap, slurm=True, lengths=lengths)
    assert bottleneck.limit == "small_chunks"
    assert bottleneck.evidence == (
        "no client job ran for 3 min 20 s of 10 min 0 s of requests, and a client job waited 0.6 s in Slurm's queue, "
        "ran 15.0 s, and worked on its chunk for 4.0 s, on average: the chunks are too small"
    )
    assert bottleneck.advice == "fewer and larger chunks (captions.chunks and qa.chunks) start fewer jobs"


def test_small_chunks_are_told_also_where_some_client_always_runs(decide):
    lengths = JobLengths(working_s=4.0, wait_s=0.6, ran_s=15.0)
    assert decide(slurm=True, lengths=lengths).limit == "small_chunks"
    assert decide(slurm=True, lengths=dataclasses.replace(lengths, working_s=13.0)).limit == "neither"
    assert decide({"full": 0.93}, slurm=True, lengths=lengths).limit == "server"


def test_on_one_machine_small_chunks_show_in_the_time_between_them(decide):
    bottleneck = decide(asking={"without_client_s": 200.0}, lengths=JobLengths(working_s=3.0))
    assert bottleneck.limit == "small_chunks"
    assert bottleneck.evidence.endswith(
        "of requests, and a client job worked on its chunk for 3.0 s, on average: the chunks are too small"
    )


@pytest.mark.parametrize(
    ("queued_s", "slurm", "words"), [(None, True, "Slurm did not tell"), (5.0, True, "log"), (None, False, "log")]
)
def test_of_a_gap_between_long_jobs_no_cause_is_claimed(decide, queued_s, slurm, words):
    bottleneck = decide(asking={"without_client_s": 200.0, "queued_s": queued_s}, slurm=slurm)
    assert (bottleneck.limit, bottleneck.advice) == ("no_client", None)
    assert words in bottleneck.evidence


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
        counts = {"total": 50, "done": 50, "failed": 1, "reused": 10, "shared": 2}
        seconds = {"wall_s": 40.0, "cpu_s": cpu_s, "working_s": 20.0, "asking_s": 140.0, "pausing_s": 20.0}
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
    text = run_verdict(config, layout, (0.0, 100.0), 1.0, None)
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
    assert kept["jobs"] == {"working_s": 40.0, "wait_s": None, "ran_s": None}


def test_the_times_of_slurm_become_the_verdict_of_small_chunks(finished):
    config, layout = finished
    for file in layout.job_times.glob("captions_*.json"):
        file.unlink()
    slurm_jobs = []
    for number in range(10):  # each waits 1 s, starts for 4 s and works for 1 s
        write_json(
            layout.job_times / f"captions_SIMPLE_chunk_{number}-of-10.json", [[25 + 6 * number, 26 + 6 * number]]
        )
        slurm_jobs.append(ClientJobTimes(20.0 + 6 * number, 21.0 + 6 * number, 26.5 + 6 * number))
    write_json(layout.server_files.run, {"server_needed": True, "slurm": {"name": "run", "options": []}})
    text = run_verdict(config, layout, (0.0, 100.0), 1.0, slurm_jobs)
    assert "1 s clients in Slurm's queue, 5 s until the first client job" in text
    assert (
        "no client job ran for 45 s of 55 s of requests, and a client job waited 1.0 s in Slurm's queue, ran 5.5 s, "
        "and worked on its chunk for 1.0 s, on average: the chunks are too small"
    ) in text
    assert read_json(layout.verdict)["limit"] == "small_chunks"


def test_the_rate_of_a_run_is_kept_for_later_estimates(finished, tmp_path, monkeypatch):
    config, layout = finished
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache" / "rates.json"))
    (server,) = endpoint.read_all(layout.server)
    server.hardware, server.versions = "1 x NVIDIA L40S", {"vllm": "0.32.0"}
    server.publish(layout.server)
    run_verdict(config, layout, (0.0, 100.0), 1.0, None)
    assert read_rates("org/tiny") == []  # 80 requests tell nothing
    for path in layout.progress.glob("*.json"):
        write_json(path, read_json(path) | {"total": 500, "done": 500})
    for day in ("2026-11-28", "2026-11-29"):
        monkeypatch.setattr(time, "strftime", lambda _, day=day: day)
        run_verdict(config, layout, (0.0, 100.0), 1.0, None)
    # the fixture's samples count one token a second
    assert read_rates("org/tiny") == [MeasuredRate("org/tiny", "1 x NVIDIA L40S", "0.32.0", 1.0, 980, "2026-11-29")]
    assert read_rates("org/other") == []
    (tmp_path / "cache" / "rates.json").write_text('{"rates": [{"model": "org/tiny"}]}')
    assert read_rates("org/tiny") == []
    monkeypatch.setenv(VARIABLE, "")
    assert rates_file() is None


KEPT = {"model": "org/tiny", "hardware": "1 x old", "vllm": "0.1", "tokens_per_s": 2.0, "requests": 3, "day": "today"}


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        ({"rates": None}, 0),
        ({"rates": {"org/tiny": 1.0}}, 0),
        ({"rates": ["org/tiny", {**KEPT, "tokens_per_s": "fast"}, {**KEPT, "tokens_per_s": 0}, KEPT]}, 1),
        ([KEPT], 0),
    ],
)
def test_a_file_of_rates_that_is_not_ours_ends_no_run(finished, tmp_path, monkeypatch, stored, kept):
    config, layout = finished
    file = tmp_path / "rates.json"
    write_json(file, stored)
    monkeypatch.setenv(VARIABLE, str(file))
    (server,) = endpoint.read_all(layout.server)
    server.hardware = "1 x NVIDIA L40S"
    server.publish(layout.server)
    for path in layout.progress.glob("*.json"):
        write_json(path, read_json(path) | {"total": 500, "done": 500})
    assert len(read_rates("org/tiny")) == kept
    run_verdict(config, layout, (0.0, 100.0), 1.0, None)
    assert len(read_rates("org/tiny")) == kept + 1


def test_the_end_of_a_run_does_not_wait_for_a_lock_on_the_rates_that_nobody_gives_back(tmp_path, monkeypatch):
    monkeypatch.setattr(measured_rates, "LOCK_PAUSE_S", 0.001)
    rate = MeasuredRate(**KEPT)
    with open(tmp_path / "rates.lock", "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        measured_rates._replace(tmp_path / "rates.json", rate)
    assert not (tmp_path / "rates.json").exists()
    measured_rates._replace(tmp_path / "rates.json", rate)
    assert read_json(tmp_path / "rates.json") == {"rates": [KEPT]}


def test_a_user_without_a_home_keeps_no_rates(monkeypatch):
    for name in (VARIABLE, "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    assert rates_file() is None


def test_a_run_whose_jobs_were_killed_has_a_verdict(finished, monkeypatch):
    config, layout = finished
    (layout.job_times / "merge_captions_simple.json").unlink()
    for number, last_sign in enumerate((45, 60)):  # killed without a word
        name = f"captions_SIMPLE_chunk_{number}-of-2.json"
        write_json(layout.job_times / name, [[5.0, None], [20.0, None]])
        os.utime(layout.progress / name, (last_sign, last_sign))
    text = run_verdict(config, layout, (0.0, 90.0), 1.0, None)
    assert "40 s requests" in text
    assert "the server's memory is the limit" in text


def test_a_run_that_failed_before_its_first_request_has_its_phases(finished):
    config, layout = finished
    for folder in (layout.job_times, layout.progress):
        for file in folder.glob("*.json"):
            file.unlink()
    write_json(layout.job_times / "start_server.json", [[2.0, None]])
    write_json(layout.server_files.run, {"server_needed": True, "slurm": {"name": "run", "options": []}})
    Endpoint(0, "request", "settings", "tiny", state=State.QUEUED).publish(layout.server)
    assert run_verdict(config, layout, (0.0, 60.0), 1.0, []) == (
        "where 1 min 0 s went: 1 s planning, 58 s server in Slurm's queue, 1 s other"
    )
    write_json(layout.job_times / "start_server.json", [[2.0, 20.0]])
    waits = [ClientJobTimes(21.0), ClientJobTimes(21.0)]
    entry = Endpoint(0, "request", "settings", "tiny", state=State.READY, job="7")
    entry.changes = [(State.STARTING, 8.0), (State.READY, 20.0)]
    entry.publish(layout.server)
    assert run_verdict(config, layout, (0.0, 60.0), 1.0, waits) == (
        "where 1 min 0 s went: 1 s planning, 6 s server in Slurm's queue, 12 s server start, "
        "39 s clients in Slurm's queue, 1 s until the first client job, 1 s other"
    )
    assert not Path(layout.verdict).exists()


def test_only_what_was_seen_while_clients_ran_counts(finished):
    _, layout = finished
    side = server_load([layout], [(20.0, 28.0), (90.0, 98.0)])
    assert (side.looks, side.full, side.idle, side.requests) == (10, 0.0, 0.5, 4.0)
    assert server_load([layout], [(200.0, 300.0)]) is None


def test_servers_of_models_that_follow_one_another_do_not_add_up(tmp_path, monkeypatch):
    layouts = [Layout(str(tmp_path), model) for model in ("first", "second")]
    for began, layout in ((0, layouts[0]), (60, layouts[1])):
        layout.server.mkdir(parents=True)
        log = LoadLog(layout.server, 0, "request")
        for at in range(began, began + 41, 2):
            monkeypatch.setattr(time, "time", lambda at=at: float(at))
            log.add(EngineLoad(8, at, 4))
    load = server_load(layouts, [(0.0, 40.0), (60.0, 100.0)])
    assert (load.looks, load.requests, load.waiting) == (42, 8.0, 4.0)
    beside = [Layout(str(tmp_path), "first")] * 2
    assert server_load(beside, [(0.0, 40.0)]).requests == 16.0


def test_of_models_that_follow_one_another_the_api_servers_of_one_are_told(finished, monkeypatch):
    config, layout = finished
    other = layout.of_models(["other"])[0]
    (server,) = endpoint.read_all(layout.server)
    server.argv = ["vllm", "serve", "--api-server-count", "2"]
    for each in (layout, other):
        write_json(each.server_files.run, {"server_needed": True, "slurm": None, "models": ["tiny", "other"]})
        server.publish(each.server)
        each.server_files.load_log(0).unlink(missing_ok=True)
        log = LoadLog(each.server, 0, "request")
        for at in range(20, 80, 2):
            monkeypatch.setattr(time, "time", lambda at=at: float(at))
            log.add(EngineLoad(4, at))
    for path in layout.progress.glob("*.json"):
        write_json(path, read_json(path) | {"asking_s": 2400.0})
    assert "; 2 API servers took " in run_verdict(config, layout, (0.0, 100.0), 1.0, None)
    beside = dataclasses.replace(config, servers="side_by_side")
    assert "; 4 API servers took " in run_verdict(beside, layout, (0.0, 100.0), 1.0, None)


def test_the_clients_figures_are_those_of_a_mean_job(finished):
    _, layout = finished
    spans = [(20.0, 60.0), (40.0, 80.0)]
    assert client_load(layout, spans) == ClientLoad(
        2, 80 / 60, cores=0.5, busy=4.0, asking=3.5, pausing=0.5, asked=80, answered=74
    )


def test_a_run_that_needed_no_server_has_no_verdict(finished):
    config, layout = finished
    write_json(layout.server_files.run, {"server_needed": False, "slurm": None})
    assert run_verdict(config, layout, (0.0, 100.0), 1.0, None) is None
    untouched = Layout(config.output_dir, "another")
    assert run_verdict(config, untouched, (0.0, 100.0), 1.0, None) is None


def test_a_run_that_asked_for_nothing_has_its_phases_alone(finished):
    config, layout = finished
    for path in layout.progress.glob("*.json"):
        write_json(path, read_json(path) | {"reused": 50})
    assert len(run_verdict(config, layout, (0.0, 100.0), 1.0, None).splitlines()) == 1
    assert not Path(layout.verdict).exists()


def slow_file_system(monkeypatch):
    read = source_module.read_stamped
    monkeypatch.setattr(source_module, "read_stamped", lambda path: time.sleep(0.1) or read(path))


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


@pytest.mark.slow
def test_a_slow_server_shows_in_the_threads_that_ask(figures, server):
    server.set(delay_s=0.2)
    found = figures()
    assert found["asking_s"] >= 24 * 0.2
    assert found["asking_s"] > found["working_s"]
    assert found["asking_s"] + found["working_s"] <= 4 * found["wall_s"]
    assert found["pausing_s"] < 0.1 * found["asking_s"]


@pytest.mark.slow
def test_a_server_that_refuses_at_first_shows_in_the_pauses_of_those_that_ask(figures, server):
    server.set(fault={"status": 429, "headers": {"Retry-After": "1"}}, times=1)
    found = figures()
    assert found["pausing_s"] >= 1
    assert found["asking_s"] >= found["pausing_s"]


@pytest.mark.slow
def test_a_slow_file_system_shows_in_the_threads_that_do_not_ask(figures, monkeypatch):
    slow_file_system(monkeypatch)
    found = figures()
    assert found["working_s"] >= 24 * 0.1


def test_a_client_at_work_shows_in_the_processor_s_time(figures, monkeypatch):
    slow_encoding(monkeypatch)
    found = figures()
    assert found["cpu_s"] >= 24 * 0.02
    assert found["working_s"] >= 24 * 0.02
