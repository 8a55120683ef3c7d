"""A stock: what is put comes out in its order, and whoever fills it waits while it is full."""

import threading

import pytest
from captionqa.stock import Stock

WAIT_S = 10.0


@pytest.fixture
def filler():
    """Fill a stock with numbers in a thread; gives how many it has put in and an event for each beat."""
    threads = []

    def start(stock, count):
        put, beaten = [], threading.Event()

        def fill():
            for number in range(count):
                stock.put(number, beaten.set, 0.01)
                put.append(number)

        threads.append(threading.Thread(target=fill, daemon=True))
        threads[-1].start()
        return put, beaten

    yield start
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()


def test_what_is_put_is_taken_in_its_order(filler):
    stock = Stock(4)
    filler(stock, 50)
    assert [stock.take() for _ in range(50)] == list(range(50))


def test_a_full_stock_is_filled_up_once_half_of_it_is_taken(filler):
    stock = Stock(6)
    put, beaten = filler(stock, 20)
    assert beaten.wait(WAIT_S)
    assert [stock.take(), stock.take(), len(put)] == [0, 1, 5]
    beaten.clear()
    assert beaten.wait(WAIT_S)
    assert len(put) == 5
    assert [stock.take() for _ in range(18)] == list(range(2, 20))


def test_a_stock_for_one_at_a_time_holds_one(filler):
    stock = Stock(1)
    put, beaten = filler(stock, 3)
    assert beaten.wait(WAIT_S)
    assert put == []
    assert [stock.take() for _ in range(3)] == [0, 1, 2]


def test_a_beat_that_raises_ends_the_wait():
    def beat():
        raise KeyError

    with pytest.raises(KeyError):
        Stock(1).put(0, beat, 0.01)
