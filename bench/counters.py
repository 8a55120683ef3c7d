"""The counters of the simulator that /metrics shows, in memory that all its processes share."""

import mmap
import time

PROMPT_TOKENS = 300


class Counters:
    """One row of 64-bit integers for each worker process."""

    RUNNING, WAITING, TOKENS, REQUESTS, FIRST_NS, IMAGE_QUERIES, IMAGE_HITS = range(7)
    COUNT = 7

    def __init__(self, workers: int):
        self._workers = workers
        self._cells = memoryview(mmap.mmap(-1, 8 * self.COUNT * workers)).cast("q")

    def add(self, worker: int, what: int, amount: int) -> None:
        self._cells[self.COUNT * worker + what] += amount

    def first_request(self, worker: int) -> None:
        if not self._cells[self.COUNT * worker + self.FIRST_NS]:
            self._cells[self.COUNT * worker + self.FIRST_NS] = time.time_ns()

    def total(self, what: int) -> int:
        return sum(self._cells[self.COUNT * worker + what] for worker in range(self._workers))

    def text(self, model: str) -> str:
        """The counters in Prometheus' text format by vLLM's names; the last one is the simulator's own."""
        first = [cell for cell in self._cells[self.FIRST_NS :: self.COUNT] if cell]
        values = {
            "vllm:num_requests_running": self.total(self.RUNNING),
            "vllm:num_requests_waiting": self.total(self.WAITING),
            "vllm:generation_tokens_total": self.total(self.TOKENS),
            "vllm:prompt_tokens_total": self.total(self.REQUESTS) * PROMPT_TOKENS,
            "vllm:mm_cache_queries_total": self.total(self.IMAGE_QUERIES),
            "vllm:mm_cache_hits_total": self.total(self.IMAGE_HITS),
            "vllm:request_success_total": self.total(self.REQUESTS),
            "simulator:first_request_time_seconds": min(first, default=0) / 1e9,
        }
        labels = f'{{engine="0",model_name="{model}"}}'
        return "".join(f"{name}{labels} {float(value)!r}\n" for name, value in values.items())
