"""A CPU turn: one thread after another while each is quick, all at once where one is slow or does not end."""

import threading

import pytest
from captionqa.client.cpu_turn import SAMPLE_CAP, SLOW_TURN_S, SLOW_WAIT_S, SMOOTHING, STUCK_S, UNSERIALISED_S, CpuTurn

WAIT_S = 10.0


class Clocks:
    """The wall clock and a thread's CPU clock, set by the test."""

    now, cpu = 100.0, 0.0

    def wait(self, seconds):
        self.now += seconds

    def compute(self, seconds):
        self.now += seconds
        self.cpu += seconds


@pytest.fixture
def clocks():
    return Clocks()


@pytest.fixture
def reported():
    """The seconds of each turn that ended."""
    return []


@pytest.fixture
def turn(clocks, reported):
    return CpuTurn(reported.append, lambda: clocks.now, lambda: clocks.cpu)


@pytest.fixture
def visitor(turn):
    """Start a thread that takes a turn; gives two events: it has its turn, and it may end it."""
    threads = []

    def start():
        inside, leave = threading.Event(), threading.Event()

        def visit():
            with turn:
                inside.set()
                leave.wait(WAIT_S)

        threads.append((threading.Thread(target=visit), leave))
        threads[-1][0].start()
        return inside, leave

    yield start
    for thread, leave in threads:
        leave.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def kept_out(inside):
    return not inside.wait(0.1)


def test_one_thread_waits_for_the_turn_of_another(visitor):
    first, leave = visitor()
    assert first.wait(WAIT_S)
    second, _ = visitor()
    assert kept_out(second)
    leave.set()
    assert second.wait(WAIT_S)


def test_another_goes_while_one_pauses_and_has_the_turn_until_it_ends(turn, visitor):
    with turn:
        with turn.paused():
            inside, leave = visitor()
            assert inside.wait(WAIT_S)
            leave.set()
        late, _ = visitor()
        assert kept_out(late)


def test_a_failure_in_a_pause_ends_with_the_turn(turn, visitor):
    with pytest.raises(KeyError), turn, turn.paused():
        raise KeyError
    first, _ = visitor()
    assert first.wait(WAIT_S)
    assert kept_out(visitor()[0])


@pytest.mark.parametrize(("spend", "seconds"), [(Clocks.compute, 2 * SLOW_TURN_S), (Clocks.wait, 2 * SLOW_WAIT_S)])
def test_all_go_at_once_for_a_while_after_slow_turns(turn, clocks, visitor, spend, seconds):
    for _ in range(SMOOTHING):
        with turn:
            spend(clocks, seconds)
    (first, leave_first), (second, leave_second) = visitor(), visitor()
    assert first.wait(WAIT_S)
    assert second.wait(WAIT_S)
    leave_first.set()
    leave_second.set()
    clocks.wait(UNSERIALISED_S)
    third, _ = visitor()
    assert third.wait(WAIT_S)
    assert kept_out(visitor()[0])


def test_those_who_wait_during_slow_turns_go_at_once(turn, clocks, visitor):
    for _ in range(4):
        with turn:
            clocks.compute(SAMPLE_CAP * SLOW_TURN_S)
    first, leave = visitor()
    assert first.wait(WAIT_S)
    others = [visitor()[0] for _ in range(3)]
    assert kept_out(others[0])
    clocks.compute(SAMPLE_CAP * SLOW_TURN_S)
    leave.set()
    assert all(other.wait(WAIT_S) for other in others)


@pytest.mark.parametrize(("spend", "seconds"), [(Clocks.compute, SLOW_TURN_S), (Clocks.wait, SLOW_WAIT_S)])
def test_one_slow_turn_among_quick_ones_changes_nothing(turn, clocks, visitor, spend, seconds):
    for _ in range(100):
        with turn:
            spend(clocks, seconds / 4)
    with turn:
        spend(clocks, 1000 * seconds)
    first, _ = visitor()
    assert first.wait(WAIT_S)
    assert kept_out(visitor()[0])


def test_a_turn_that_does_not_end_lets_the_others_go_and_may_end_later(clocks, visitor):
    stuck, leave = visitor()
    assert stuck.wait(WAIT_S)
    others = [visitor()[0] for _ in range(3)]
    clocks.wait(STUCK_S / 2)
    assert not others[0].wait(2 * STUCK_S)
    clocks.wait(STUCK_S)
    assert all(other.wait(WAIT_S) for other in others)
    clocks.wait(UNSERIALISED_S)
    leave.set()
    later, _ = visitor()
    assert later.wait(WAIT_S)
    assert kept_out(visitor()[0])


def test_the_seconds_of_each_turn_are_reported_without_pauses_and_the_wait_before(turn, clocks, reported, visitor):
    with turn:
        clocks.compute(1)
        with turn.paused():
            clocks.wait(10)
        clocks.wait(2)
    assert reported == [1, 2]
    with turn:  # all go at once after these
        clocks.compute(3)
    assert reported == [1, 2, 3]


def test_the_wait_for_a_turn_is_not_reported_as_a_part_of_it(clocks, reported, visitor, eventually):
    first, leave_first = visitor()
    assert first.wait(WAIT_S)
    second, leave_second = visitor()
    assert kept_out(second)
    clocks.compute(SLOW_TURN_S)
    leave_first.set()
    assert second.wait(WAIT_S)
    clocks.compute(SLOW_TURN_S / 2)
    leave_second.set()
    eventually(lambda: len(reported) == 2, "the end of both turns")
    assert reported == pytest.approx([SLOW_TURN_S, SLOW_TURN_S / 2])
