"""How a client job spent its time: summed over its threads, by the clock and by the processor."""

import threading
import time

import pytest
from captionqa.run.thread_time import ThreadTime


class Clock:
    now = 10.0

    def __call__(self):
        return self.now

    def fail_after(self, seconds):
        self.now += seconds
        raise TimeoutError


def test_time_is_added_up_by_what_it_went_to():
    clock = Clock()
    spent = ThreadTime(clock)
    clock.now += 5
    spent.add_working(2)
    spent.add_working(1)
    with pytest.raises(TimeoutError), spent.asking():
        clock.fail_after(5)
    record = spent.record()
    assert (record["wall_s"], record["working_s"], record["asking_s"]) == (10, 3, 5)


def test_threads_that_ask_at_once_count_each():
    clock, together = Clock(), threading.Barrier(4, timeout=60)
    spent = ThreadTime(clock)

    def ask():
        with spent.asking():
            together.wait()
            together.wait()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    together.wait()
    clock.now += 2
    together.wait()
    for thread in threads:
        thread.join()
    assert spent.record()["asking_s"] == 6


def test_the_processor_s_time_is_that_of_all_threads():
    spent = ThreadTime()

    def work():
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spent.record()["cpu_s"] >= 0.2
