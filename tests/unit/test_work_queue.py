"""The work queue: items come out in their order, and the producer waits while it is full."""

import threading

import pytest
from captionqa.client.work_queue import WorkQueue

WAIT_S = 10.0


@pytest.fixture
def filler():
    """Fill a queue with numbers in a thread.

    Gives two lists that grow meanwhile: the numbers put in, and for each heartbeat how many there were by then.
    """
    threads = []

    def start(queue, count, heartbeat_s):
        put, beats = [], []

        def fill():
            for number in range(count):
                queue.put(number, lambda: beats.append(len(put)), heartbeat_s)
                put.append(number)

        threads.append(threading.Thread(target=fill, daemon=True))
        threads[-1].start()
        return put, beats

    yield start
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_items_are_taken_in_their_order_and_the_producer_is_woken(filler, eventually):
    queue, taken = WorkQueue(4), []
    _, beats = filler(queue, 50, heartbeat_s=600)
    threading.Thread(target=lambda: taken.extend(queue.take() for _ in range(50)), daemon=True).start()
    eventually(lambda: len(taken) == 50, "all that was put")
    assert taken == list(range(50))
    assert len(beats) <= 50


def test_a_full_queue_is_filled_up_once_half_of_it_is_taken(filler, eventually):
    queue = WorkQueue(6)
    put, beats = filler(queue, 20, heartbeat_s=0.01)
    eventually(lambda: beats, "a heartbeat")
    assert [queue.take(), queue.take(), put] == [0, 1, list(range(5))]
    waited = len(beats)
    eventually(lambda: len(beats) > waited + 2, "more heartbeats")
    assert put == list(range(5))
    assert [queue.take() for _ in range(18)] == list(range(2, 20))


def test_a_queue_for_one_at_a_time_holds_one(filler, eventually):
    queue = WorkQueue(1)
    put, beats = filler(queue, 3, heartbeat_s=0.01)
    eventually(lambda: beats, "a heartbeat")
    assert put == []
    assert [queue.take() for _ in range(3)] == [0, 1, 2]


def test_a_heartbeat_that_raises_ends_the_wait():
    def heartbeat():
        raise KeyError

    with pytest.raises(KeyError):
        WorkQueue(1).put(0, heartbeat, 0.01)
