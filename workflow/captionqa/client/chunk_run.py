"""The run of a chunk: worker threads that take items from a queue, and the journal segments of their answers."""

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from captionqa.client.adaptive_concurrency import AUTO, initial_limit
from captionqa.client.api_key import ApiKeys
from captionqa.client.chunk_job import ChunkJob
from captionqa.client.chunk_result import ResultLine
from captionqa.client.concurrency_tuner import ConcurrencyTuner
from captionqa.client.decoding_notes import DecodingNotes
from captionqa.client.in_flight_limit import InFlightLimiter
from captionqa.client.item_processor import ItemProcessor
from captionqa.client.item_stream import ItemStream, following, image_of
from captionqa.client.journal import JournalSegment, SegmentJournals
from captionqa.client.memory_budget import MemoryBudget, give_back_large_blocks
from captionqa.client.retrying_client import RetryingClient
from captionqa.client.server_pool import ServerPool
from captionqa.client.work_queue import WorkQueue
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.settings import FALLBACK, answer_fingerprint, fingerprint, request_parameters
from captionqa.dataset.changed_files import ChangedFiles
from captionqa.dataset.item_entry import ItemEntry
from captionqa.errors import ServerDeadError
from captionqa.run.lease import LeaseWatch
from captionqa.run.progress import Outcome, Progress

if TYPE_CHECKING:
    from captionqa.client.image_pace import ImagePace

#: How often the lease is checked and a locked segment is tried again; worker errors are looked for five times as often.
HEARTBEAT_S = 0.5
#: How long workers whose server just died get to journal that their requests were in flight.
LAST_APPENDS_S = 2.0

log = logging.getLogger(__name__)


class ChunkRun:
    """One run over a chunk; `run` writes the chunk's result when every item has an answer or a named failure.

    The main thread locks segments, fills the queue and watches the lease. Worker threads take items from the queue.
    `_lock` guards what the workers change: the result lines, the counts of the progress, the unfinished items of the
    open segments, and the first error.
    """

    def __init__(self, job: ChunkJob):
        self._job = job
        self._is_adaptive = job.client.concurrency == AUTO
        self._items = ItemStream(job.items)
        self._progress = Progress(job.progress, len(self._items))
        self._lease = LeaseWatch(job.server, job.lease_timeout_s)
        self._limiter = InFlightLimiter(initial_limit(job.client.concurrency))
        self._pool = ServerPool(
            job.server,
            LeaseWatch(job.server, job.lease_timeout_s),
            job.client.server_wait_s,
            job.client.backoff_s,
            self._limiter,
            self._progress.thread_time.add_pausing,
        )
        self._changed = ChangedFiles()
        keys = ApiKeys(job.server, job.own_servers)
        client = RetryingClient(self._pool, job.client, keys, request_parameters(job.settings))
        self._notes = DecodingNotes(
            AnswerFiles(str(job.journal.parent)).decoding(job.name), MemoryBudget(job.pictures_mb)
        )
        self._processor = ItemProcessor(
            job, client, self._progress, self._changed, self._finish, self._put_back, self._notes
        )
        self._tuner = ConcurrencyTuner(self._limiter, self._pool, keys)
        self._workers: list[threading.Thread] = []
        self._queue: WorkQueue[tuple[SegmentJournals, ItemEntry]] = WorkQueue(self._limiter.limit)
        self._pace = None if job.position is None else _pace(job, job.position)
        self._opened: list[SegmentJournals] = []
        self._next_lease_check = 0.0
        self._lock = threading.Lock()
        self._lines: list[ResultLine] = []
        self._error: BaseException | None = None
        #: Set once all items are done, or a worker failed.
        self._finished_or_failed = threading.Event()

    def run(self) -> None:
        """Raises ServerDeadError, ServerRefusedError, RunStoppedError, DiskFullError or another OSError.

        What was answered until then is in the journal.
        """
        started = time.time()
        give_back_large_blocks()
        if self._is_adaptive:
            self._tuner.start()
        try:
            choose = following if self._pace is None else partial(self._pace.next_segment, self._items)
            for index, count, entries in self._items.segments(choose):
                self._enqueue(index, count, entries)
            if self._is_adaptive:
                self._tuner.finish()
            while self._progress.done < len(self._items):
                if self._pace is not None and not self._queue:
                    self._pace.end()
                self._heartbeat()
                self._finished_or_failed.wait(HEARTBEAT_S / 5)
            self._check_error()
        except ServerDeadError:
            self._join_workers()
            raise
        finally:
            self._pool.stopped.set()  # workers are daemon threads: none of them delays the end of the process
            self._notes.close()
            if self._pace is not None:
                self._pace.end()
            self._close_journals()
            self._progress.report(last=True)
        if self._changed:
            log.warning(
                "%d files, such as %r, are not as this run found them when it began; the answers are about the files "
                "that were read. The next run checks them again.",
                len(self._changed),
                self._changed.first(),
            )
            self._changed.save(self._job.items, self._job.result)  # before the result, which it is about
        self._job.write_result(started, self._progress, self._tuner.limit, self._lines)

    def _enqueue(self, index: int, count: int, entries: Iterable[ItemEntry]) -> None:
        """Lock a segment, and queue its `count` items for the workers."""
        job = self._job
        main = JournalSegment(job.journal, index, answer_fingerprint(job.settings), self._wait_for_segment)
        fallback = None
        if FALLBACK in job.settings:
            folder = AnswerFiles(str(job.journal.parent)).fallback
            fallback = JournalSegment(folder, index, fingerprint(job.settings), self._wait_for_segment)
        journals = SegmentJournals(main, fallback, count)
        self._opened = [opened for opened in self._opened if opened.unfinished] + [journals]
        self._heartbeat()
        for entry in entries:
            if self._pace is not None:
                image = (index, image_of(entry))
                self._pace.admit(
                    image,
                    len(self._queue),
                    self._progress,
                    self._wait_for_others,
                    held_back=lambda: self._processor.held_back,
                )
            self._queue.put((journals, entry), self._heartbeat, HEARTBEAT_S / 5)

    def _wait_for_others(self, seconds: float) -> None:
        self._heartbeat()
        self._finished_or_failed.wait(seconds)

    def _wait_for_segment(self) -> None:
        self._heartbeat()
        time.sleep(HEARTBEAT_S)

    def _heartbeat(self) -> None:
        """The main thread's periodic work: raise a worker's error, start workers, report, check the lease."""
        self._check_error()
        while len(self._workers) < self._limiter.limit:
            number = len(self._workers)
            worker = threading.Thread(target=self._work, args=[number], daemon=True, name=f"ask-{number}")
            self._workers.append(worker)
            worker.start()
        self._progress.report()
        if self._pace is not None:
            self._pace.publish(len(self._queue))
        if (now := time.monotonic()) >= self._next_lease_check:  # not for each item: the lease is a file
            self._lease.check()
            self._next_lease_check = now + HEARTBEAT_S

    def _check_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _join_workers(self) -> None:
        """Let workers whose server died journal that their requests were in flight."""
        self._pool.stopped.set()
        deadline = time.monotonic() + LAST_APPENDS_S
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))

    def _close_journals(self) -> None:
        with self._lock:
            for journals in (opened for opened in self._opened if opened.unfinished):
                with suppress(OSError):  # the run is failing already, of this or of something else
                    journals.close()

    def _work(self, number: int) -> None:
        """Take items from the queue until the run ends."""
        while self._error is None and not self._pool.stopped.is_set():
            self._limiter.await_worker_slot(number)
            journals, entry = self._queue.take()
            try:
                self._processor.process(journals, entry)
            except BaseException as error:
                with self._lock:
                    self._error = self._error or error
                self._finished_or_failed.set()
                return

    def _put_back(self, journals: SegmentJournals, entry: ItemEntry) -> None:
        self._queue.put_back((journals, entry))

    def _finish(self, journals: SegmentJournals, line: ResultLine, outcome: Outcome) -> None:
        """Keep the result line of an item."""
        with self._lock:
            journals.finish_item()
            self._lines.append(line)
            self._progress.count(outcome)
            if self._pace is not None and "answer" in line:
                self._pace.cache.add(line["answer"]["prompt_tokens"])
            if self._progress.done == self._progress.total:
                self._finished_or_failed.set()


def _pace(job: ChunkJob, position: Path) -> "ImagePace":
    from captionqa.client.image_pace import ImagePace  # felt at the start of a job, and most go at their own speed

    return ImagePace.of(job, position)
