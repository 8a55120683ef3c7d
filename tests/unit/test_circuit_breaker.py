"""The circuit breaker: open while most attempts fail, with single trials after growing pauses, closed by an answer."""

import itertools

import pytest
from captionqa.client.circuit_breaker import MAX_PAUSE_S, WINDOW, CircuitBreaker


@pytest.fixture
def circuit():
    return CircuitBreaker(first_pause_s=1.0)


def test_a_few_failures_among_answers_open_nothing(circuit):
    for _ in range(10 * WINDOW):
        circuit.record_answer(0)
        circuit.record_failure("HTTP 500")
    assert not circuit.is_open


def test_more_failures_than_answers_open_it_once(circuit):
    for _ in range(WINDOW):
        circuit.record_answer(0)
    assert [circuit.record_failure("HTTP 500") for _ in range(WINDOW)].count(True) == 1
    assert (circuit.is_open, circuit.reason) == (True, "HTTP 500")


def test_one_at_a_time_tries_after_pauses_that_double(circuit):
    circuit.trip("HTTP 500")
    now, tried_at = 0.0, []
    while len(tried_at) < 9:
        if circuit.claim_trial(now):
            assert not circuit.claim_trial(now)
            circuit.record_trial("HTTP 503", now)
            tried_at.append(now)
        now += 0.5
    pauses = [after - before for before, after in itertools.pairwise(tried_at)]
    assert pauses == [1, 2, 4, 8, 16, 32, MAX_PAUSE_S, MAX_PAUSE_S]


def test_an_outage_of_days_is_tried_to_its_end(circuit):
    circuit.trip("HTTP 500")
    for minute in range(3 * 24 * 60):
        assert circuit.claim_trial(minute * MAX_PAUSE_S)
        circuit.record_trial("HTTP 503", minute * MAX_PAUSE_S)
    assert circuit.is_open


def test_an_answered_trial_closes_it_and_forgets_what_was(circuit):
    for _ in range(WINDOW):
        circuit.record_failure("HTTP 500")
    assert circuit.claim_trial(5.0)
    circuit.record_trial(None, 6.0)
    assert not circuit.is_open
    assert circuit.answered_since(5.5)
    assert not circuit.answered_since(6.5)
    assert not circuit.record_failure("HTTP 500")


def test_a_closed_circuit_is_not_tried(circuit):
    assert not circuit.claim_trial(0.0)


def test_a_trip_opens_only_what_was_closed(circuit):
    assert circuit.trip("one")
    assert not circuit.trip("two")
    assert circuit.reason == "one"
