"""A stock: what is put comes out in its order, and whoever fills it waits while it is full."""

import threading

import pytest
from captionqa.client.work_queue import WorkQueue

WAIT_S = 10.0


@pytest.fixture
def filler():
    """Fill a stock with numbers in a thread; gives how many it has put in and how often it had a beat meanwhile."""
    threads = []

    def start(stock, count, beat_s):
        put, beats = [], []

        def fill():
            for number in range(count):
                stock.put(number, lambda: beats.append(len(put)), beat_s)
                put.append(number)

        threads.append(threading.Thread(target=fill, daemon=True))
        threads[-1].start()
        return put, beats

    yield start
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_what_is_put_is_taken_in_its_order_and_who_fills_it_is_woken(filler, eventually):
    stock, taken = WorkQueue(4), []
    _, beats = filler(stock, 50, beat_s=600)
    threading.Thread(target=lambda: taken.extend(stock.take() for _ in range(50)), daemon=True).start()
    eventually(lambda: len(taken) == 50, "all that was put")
    assert taken == list(range(50))
    assert len(beats) <= 50


def test_a_full_stock_is_filled_up_once_half_of_it_is_taken(filler, eventually):
    stock = WorkQueue(6)
    put, beats = filler(stock, 20, beat_s=0.01)
    eventually(lambda: beats, "a beat")
    assert [stock.take(), stock.take(), put] == [0, 1, list(range(5))]
    waited = len(beats)
    eventually(lambda: len(beats) > waited + 2, "more beats")
    assert put == list(range(5))
    assert [stock.take() for _ in range(18)] == list(range(2, 20))


def test_a_stock_for_one_at_a_time_holds_one(filler, eventually):
    stock = WorkQueue(1)
    put, beats = filler(stock, 3, beat_s=0.01)
    eventually(lambda: beats, "a beat")
    assert put == []
    assert [stock.take() for _ in range(3)] == [0, 1, 2]


def test_a_beat_that_raises_ends_the_wait():
    def beat():
        raise KeyError

    with pytest.raises(KeyError):
        WorkQueue(1).put(0, beat, 0.01)
