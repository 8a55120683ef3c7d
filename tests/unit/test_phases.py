"""Phases: they add up to the run, whatever overlaps, and each second counts for the first phase that it fits."""

import pytest
from captionqa.driver.phases import PHASES, RequestTime, phase_seconds, phases_line, request_time
from captionqa.server.endpoint import Endpoint
from hypothesis import given
from hypothesis import strategies as st

#: The jobs of a run of 100 s on Slurm: 4 s of planning, a server that was queued from 5 to 15 and healthy at 40.
JOBS = {
    "start_server": [(5.0, 40.5)],
    "captions_SIMPLE_chunk_0-of-2": [(42.0, 60.0)],
    "captions_SIMPLE_chunk_1-of-2": [(42.5, 62.0)],
    "merge_captions_simple": [(63.0, 75.0)],
    "qa_chunk_0-of-1": [(50.0, 80.0)],
    "release_qa": [(80.5, 81.0)],
    "merge_qa": [(82.0, 90.0)],
    "export_captions_simple_txt": [(89.0, 90.5)],
    "page": [(92.5, 94.5)],
    "check_failures": [(91.0, 92.0)],
}


def server(*changes, job="7", replica=0):
    return Endpoint(replica, "request", "settings", "tiny", job=job, changes=[list(change) for change in changes])


STARTED = server(("starting", 15.0), ("ready", 40.0), ("dead", 81.0))


def test_each_second_is_counted_once():
    assert phase_seconds((0.0, 100.0), 4.0, JOBS, [STARTED]) == {
        "planning": 4.0,
        "queue": 10.0,
        "start": 25.5,
        "client_queue": 0.0,
        "first_client": 1.5,
        "asking": 38.0,  # the captions were merged meanwhile
        "merging": 9.0,
        "exporting": 0.5,
        "page": 2.0,
        "else": 9.5,
    }


def test_without_slurm_there_is_no_queue():
    phases = phase_seconds((0.0, 100.0), 4.0, JOBS, [server(*STARTED.changes, job=None)])
    assert (phases["queue"], phases["start"]) == (0.0, 35.5)


def test_the_queue_is_that_of_the_replica_that_was_ready_first():
    others = [server(("starting", 10.0), ("ready", 70.0), replica=1), server(("starting", 39.0), replica=2)]
    assert phase_seconds((0.0, 100.0), 4.0, JOBS, [*others, STARTED])["queue"] == 10.0


def test_a_server_that_is_taken_over_was_started_before_the_run():
    jobs = JOBS | {"start_server": [(5.0, 5.5)]}
    phases = phase_seconds((0.0, 100.0), 4.0, jobs, [server(("starting", -900.0), ("ready", -800.0))])
    assert (phases["queue"], phases["start"], phases["first_client"]) == (0.0, 0.5, 36.5)


def test_a_run_without_a_server_is_merging_and_the_rest():
    phases = phase_seconds((0.0, 10.0), 1.0, {"merge_qa": [(2.0, 5.0)]}, [])
    assert {name: length for name, length in phases.items() if length} == {"planning": 1.0, "merging": 3.0, "else": 6.0}


@given(st.dictionaries(st.sampled_from(list(JOBS)), st.lists(st.tuples(st.floats(-50, 150), st.floats(-50, 150)))))
def test_phases_add_up_to_the_run_whatever_the_clocks_of_other_machines_say(jobs):
    phases = phase_seconds((0.0, 100.0), 4.0, jobs, [STARTED])
    assert phases.keys() == PHASES.keys()
    assert min(phases.values()) >= 0
    assert sum(phases.values()) == pytest.approx(100.0)


def test_the_words_leave_out_what_took_no_time():
    phases = dict.fromkeys(PHASES, 0.0) | {"queue": 31.2, "start": 118.0, "asking": 680.2, "merging": 12.0, "else": 8.6}
    assert phases_line(phases) == (
        "where 14 min 10 s went: 31 s server in Slurm's queue, 1 min 58 s server start, 11 min 20 s requests, "
        "12 s merging, 9 s other"
    )


@given(st.lists(st.floats(0, 400), min_size=len(PHASES), max_size=len(PHASES)))
def test_the_words_add_up(lengths):
    def whole(text):
        minutes, _, rest = text.rpartition(" min ")
        return int(minutes or 0) * 60 + int(rest.split()[0])

    phases = dict(zip(PHASES, lengths, strict=True))
    head, _, parts = phases_line(phases).partition(" went: ")
    assert sum(map(whole, filter(None, parts.split(", ")))) == whole(head.removeprefix("where "))
    assert whole(head.removeprefix("where ")) == round(sum(lengths))


def test_time_without_a_server_or_a_client_is_known():
    chunks = [(42.0, 60.0), (43.0, 50.0), (70.0, 80.0)]
    sick = server(("starting", 15.0), ("ready", 40.0), ("replacing", 50.0), ("ready", 56.0), ("dead", 81.0))
    assert request_time(chunks, [sick]) == RequestTime(38.0, without_server_s=6.0, without_client_s=10.0)
    other = server(("starting", 15.0), ("ready", 52.0), replica=1)
    assert request_time(chunks, [sick, other]).without_server_s == 2.0


def test_between_two_models_no_server_is_missed():
    chunks = [(42.0, 60.0), (90.0, 100.0)]
    # the first model's files are merged before the second one's server starts
    servers = [server(("starting", 15.0), ("ready", 40.0), ("dead", 61.0)), server(("starting", 76.0), ("ready", 87.5))]
    starts = [(5.0, 40.5), (75.0, 88.0)]
    found = request_time(chunks, servers, starts=starts)
    assert found == RequestTime(30.0, without_server_s=0.0, without_client_s=2.0)
    # a judge that has nothing to judge starts no server
    second = server(("starting", 76.0), ("ready", 87.5), ("dead", 101.0))
    servers = [servers[0], second, server(("starting", -90.0), ("ready", -80.0), ("dead", -50.0))]
    assert request_time([*chunks, (101.0, 120.0)], servers, starts=starts).without_server_s == 0.0


def test_what_is_not_known_of_a_server_is_not_held_against_it():
    cut = server(("replacing", 60.0), ("ready", 62.0))
    assert request_time([(40.0, 80.0)], [cut]).without_server_s == 2.0
    assert request_time([(40.0, 80.0)], [server()]).without_server_s == 0.0
