"""A turn: one thread after another while each is quick, all at once where one is slow or does not end."""

import threading

import pytest
from captionqa.turn import FREE_S, SLOW_S, SMOOTHING, STUCK_S, Turn

WAIT_S = 10.0


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def turn(clock):
    return Turn(clock)


@pytest.fixture
def visitor(turn):
    """Start a thread that takes a turn; gives the events that it has its turn, and that it may end it."""
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


def take_slow_turns(turn, clock):
    """As many as it takes for their mean to be slow."""
    for _ in range(SMOOTHING):
        with turn:
            clock.now += 2 * SLOW_S


def test_one_thread_waits_for_the_turn_of_another(visitor):
    first, leave = visitor()
    assert first.wait(WAIT_S)
    second, _ = visitor()
    assert kept_out(second)
    leave.set()
    assert second.wait(WAIT_S)


def test_another_goes_while_one_is_aside_and_has_the_turn_until_it_ends(turn, visitor):
    with turn:
        with turn.aside():
            inside, leave = visitor()
            assert inside.wait(WAIT_S)
            leave.set()
        late, _ = visitor()
        assert kept_out(late)


def test_a_failure_aside_ends_with_the_turn(turn, visitor):
    with pytest.raises(KeyError), turn, turn.aside():
        raise KeyError
    first, _ = visitor()
    assert first.wait(WAIT_S)
    assert kept_out(visitor()[0])


def test_all_go_at_once_for_a_while_after_slow_turns(turn, clock, visitor):
    take_slow_turns(turn, clock)
    (first, leave_first), (second, leave_second) = visitor(), visitor()
    assert first.wait(WAIT_S)
    assert second.wait(WAIT_S)
    leave_first.set()
    leave_second.set()
    clock.now += FREE_S
    third, _ = visitor()
    assert third.wait(WAIT_S)
    assert kept_out(visitor()[0])


def test_those_who_wait_during_slow_turns_go_at_once(turn, clock, visitor):
    first, leave = visitor()
    assert first.wait(WAIT_S)
    others = [visitor()[0] for _ in range(3)]
    assert kept_out(others[0])
    clock.now += SMOOTHING * SLOW_S + 0.001
    leave.set()
    assert all(other.wait(WAIT_S) for other in others)


def test_one_slow_turn_among_quick_ones_changes_nothing(turn, clock, visitor):
    for _ in range(100):
        with turn:
            clock.now += SLOW_S / 4
    with turn:
        clock.now += 5 * SLOW_S
    first, _ = visitor()
    assert first.wait(WAIT_S)
    assert kept_out(visitor()[0])


def test_a_turn_that_does_not_end_lets_the_others_go_and_may_end_later(turn, clock, visitor):
    stuck, leave = visitor()
    assert stuck.wait(WAIT_S)
    others = [visitor()[0] for _ in range(3)]
    clock.now += STUCK_S / 2
    turn.watch()
    assert kept_out(others[0])
    clock.now += STUCK_S
    turn.watch()
    assert all(other.wait(WAIT_S) for other in others)
    clock.now += FREE_S
    leave.set()
    later, _ = visitor()
    assert later.wait(WAIT_S)
    assert kept_out(visitor()[0])
