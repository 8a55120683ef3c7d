"""Asking for a chunk: what the journal knows comes from there, the rest is asked, each answer is journaled at once."""

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from captionqa.client.adaptive_concurrency import AUTO, Tuner, first
from captionqa.client.chat_completion import Answer
from captionqa.client.chunk_job import ChunkJob
from captionqa.client.cpu_turn import Turn
from captionqa.client.duplicate_requests import Twins
from captionqa.client.image_transport import Transport
from captionqa.client.in_flight_limit import Gate
from captionqa.client.item import Item, request_key
from captionqa.client.journal import OpenSegment, Segment, segment
from captionqa.client.letter_fallback import LETTER_TOKENS, letters_to_ask
from captionqa.client.retrying_client import Client
from captionqa.client.server_pool import Pool
from captionqa.client.work_queue import Stock
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.prompts import letter_messages
from captionqa.config.settings import FALLBACK, answer_fingerprint, fingerprint
from captionqa.dataset.places import place, question_place
from captionqa.errors import ItemFailure, ServerDeadError, ServerRefusedError
from captionqa.files import read_json_lines
from captionqa.run.lease import LeaseWatch
from captionqa.run.progress import Progress
from captionqa.server import endpoint
from captionqa.server.endpoint import Endpoint

BEAT_S = 0.5
#: Threads whose server just died may need so long to journal that they were under way.
LAST_WORDS_S = 2.0
#: So many failures in a row are no longer taken for the items' own.
FAILURES_IN_A_ROW = 50

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Member:
    """An item and the segment that its answer goes to."""

    opened: OpenSegment
    item: Item


class ChunkRun:
    """One run over a chunk; `run` writes the chunk's result when every item has an answer or a named failure."""

    def __init__(self, job: ChunkJob):
        self._job = job
        self._fingerprint = fingerprint(job.settings)
        self._dataset = job.dataset.resolve()
        self._roots = [Path(root).resolve() for root in job.client.images.allowed_roots]
        self._transport = Transport(job.client.image_transport, self._dataset)
        self._deduplicate = job.client.deduplicate
        self._lease = LeaseWatch(job.server, job.lease_timeout_s)
        self._gate = Gate(first(job.client.concurrency))
        self._pool = Pool(
            job.server,
            LeaseWatch(job.server, job.lease_timeout_s),
            job.client.server_wait_s,
            job.client.backoff_s,
            self._gate,
        )
        read_key = partial(endpoint.read_key, job.server)
        self._client = Client(self._pool, job.client, read_key, job.settings["sampling"], job.trust_env)
        self._tuner = Tuner(self._gate, self._pool, read_key, job.trust_env)
        self._threads: list[threading.Thread] = []
        self._work: Stock[tuple[OpenSegment, dict[str, Any]]] = Stock(self._gate.limit)
        self._lock, self._doubt = threading.Lock(), threading.Lock()
        self._twins: Twins[_Member] = Twins()
        self._opened: list[OpenSegment] = []
        self._lines: list[dict[str, Any]] = []
        self._failed_in_a_row, self._next_look = 0, 0.0
        self._error: BaseException | None = None
        self._news = threading.Event()  # all is done, or an error

    def run(self) -> None:
        """Raises ServerDeadError, ServerRefusedError, RunStoppedError, DiskFullError or another OSError; what was
        answered until then is in the journal."""
        items = list(read_json_lines(self._job.items))
        self._progress = Progress(self._job.progress, len(items))
        self._turn = Turn(self._progress.thread_time.add_working)
        started = time.time()
        if auto := self._job.client.concurrency == AUTO:
            self._tuner.start()
        try:
            for index, members in groupby(items, key=lambda item: segment(_place(item))):
                self._feed(index, list(members))
            if auto:
                self._tuner.finish()
            while self._progress.done < len(items):
                self._beat()
                self._news.wait(BEAT_S / 5)
            self._check_error()
        except ServerDeadError:
            self._pool.stopped.set()
            deadline = time.monotonic() + LAST_WORDS_S
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            raise
        finally:
            self._pool.stopped.set()  # the threads are daemons: none of them holds up the end of the process
            self._close_journal()
            self._progress.report(last=True)
        self._job.write_result(started, self._progress, self._tuner.found, self._lines)

    def _feed(self, index: int, items: list[dict[str, Any]]) -> None:
        """Lock a segment and hand its items to the threads."""
        journal = Segment(self._job.journal, index, answer_fingerprint(self._job.settings), wait=self._wait_for_segment)
        fallback = None
        if FALLBACK in self._job.settings:
            folder = AnswerFiles(str(self._job.journal.parent)).fallback
            fallback = Segment(folder, index, self._fingerprint, wait=self._wait_for_segment)
        opened = OpenSegment(journal, fallback, len(items))
        self._opened = [segment for segment in self._opened if segment.left] + [opened]
        self._beat()
        for item in items:
            self._work.put((opened, item), self._beat, BEAT_S / 5)

    def _close_journal(self) -> None:
        with self._lock:
            for opened in (segment for segment in self._opened if segment.left):
                with suppress(OSError):  # the run is failing already, of this or of something else
                    opened.close()

    def _wait_for_segment(self) -> None:
        self._beat()
        time.sleep(BEAT_S)

    def _beat(self) -> None:
        self._check_error()
        while len(self._threads) < self._gate.limit:
            number = len(self._threads)
            thread = threading.Thread(target=self._ask_from_queue, args=[number], daemon=True, name=f"ask-{number}")
            self._threads.append(thread)
            thread.start()
        self._progress.report()
        if (now := time.monotonic()) >= self._next_look:  # not for each item: the lease is a file
            self._lease.check()
            self._next_look = now + BEAT_S

    def _check_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _ask_from_queue(self, number: int) -> None:
        while self._error is None and not self._pool.stopped.is_set():
            self._gate.await_seat(number)
            opened, entry = self._work.take()
            try:
                try:
                    with self._turn:
                        self._one(opened, entry)
                except ItemFailure as failure:
                    self._fail(opened, entry["id"], failure)
            except BaseException as error:
                with self._lock:
                    self._error = self._error or error
                self._news.set()
                return

    def _one(self, opened: OpenSegment, entry: Mapping[str, Any]) -> None:
        """Find an answer to an item in the journal or at a twin's, or ask for it; raises ItemFailure."""
        item = Item(entry, self._job.settings, self._dataset, self._roots, self._transport)
        member = _Member(opened, item)
        known = opened.journal.answers.get(item.id)
        if known is not None and item.is_as_in(known):
            outcome = {key: known[key] for key in ("answer", "same_as") if key in known}
            return self._settle(member, self._done(opened, item.id, self._completed(member, outcome), "reused"))
        messages = item.messages()
        first, outcome = self._twins.join(item.key(), member) if self._deduplicate else (True, None)
        if first:
            self._ask(member, messages)
        elif outcome is not None:
            self._share(member, outcome)

    def _ask(self, member: _Member, messages: list[dict[str, Any]]) -> None:
        """Ask for an item, and for all that wait for the same."""
        opened, item = member.opened, member.item
        try:
            answer = self._request(opened.journal, item.mark(), messages, self._job.settings["max_tokens"])
        except ItemFailure as failure:
            damage = item.damage_behind(failure)
            line = self._fail(opened, item.id, damage or failure)
            if damage is None:
                self._check_use(failure)
        else:
            self._failed_in_a_row = 0
            line = self._done(opened, item.id, self._completed(member, {"answer": answer}), "answered")
        self._settle(member, line)

    def _completed(self, member: _Member, outcome: dict[str, Any]) -> dict[str, Any]:
        """An answer with its files' digests and, where it commits to no option, the fallback's or why that failed."""
        journal, item, said = member.opened.fallback, member.item, outcome["answer"]["text"]
        outcome = outcome | {"files": item.digests()}
        if journal is None or not (letters := letters_to_ask(item.question, said)):
            return outcome
        known = journal.answers.get(item.id)
        try:
            if known is not None and item.is_as_in(known, said):
                return outcome | {FALLBACK: known["answer"]}
            messages = letter_messages(item.messages(), said)
            answer = self._request(journal, item.mark(said), messages, LETTER_TOKENS, letters)
        except ItemFailure as failure:
            log.warning("%r, asked for its letter alone: %s", item.id, failure)
            return outcome | {FALLBACK: {"failure": failure.reason, "detail": failure.detail}}
        return outcome | {FALLBACK: answer}

    def _request(
        self,
        journal: Segment,
        mark: Mapping[str, Any],
        messages: list[dict[str, Any]],
        max_tokens: int,
        choice: str = "",
    ) -> dict[str, Any]:
        """The server's answer, journaled under the mark as each crash on the way is; raises ItemFailure."""
        crashes = sum(request_key(line) == request_key(mark) for line in journal.crashes.get(mark["id"], ()))

        def on_crash(server: Endpoint) -> None:
            nonlocal crashes
            crashes += 1
            self._append(journal, mark, {"crashed": f"generation {server.generation} at {server.url}"})

        def ask(messages: list[dict[str, Any]]) -> Answer:
            with self._turn.aside(), self._progress.thread_time.asking():
                return self._client.ask(messages, max_tokens, choice, crashes, on_crash)

        answer = vars(self._transport.ask(ask, messages))
        self._append(journal, mark, {"answer": answer})
        return answer

    def _settle(self, member: _Member, line: Mapping[str, Any]) -> None:
        if self._deduplicate:
            for twin in self._twins.settle(member.item.key(), line):
                self._share(twin, line)

    def _share(self, member: _Member, line: Mapping[str, Any]) -> None:
        """Give an item the outcome of another whose request is the same."""
        opened, item = member.opened, member.item
        outcome = {key: line[key] for key in ("answer", "files", FALLBACK, "failure", "detail") if key in line}
        outcome["same_as"] = line.get("same_as", line["id"])
        if "answer" in outcome:
            self._append(opened.journal, item.mark(), {key: outcome[key] for key in ("answer", "same_as")})
            if "text" in (letter := outcome.get(FALLBACK, {})):
                self._append(opened.fallback, item.mark(outcome["answer"]["text"]), {"answer": letter})
        self._done(opened, item.id, outcome, "shared" if "answer" in outcome else "failed")

    def _append(self, journal: Segment, mark: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        with self._lock:
            journal.append({**mark, "time": round(time.time(), 3), **outcome})

    def _fail(self, opened: OpenSegment, name: str, failure: ItemFailure) -> dict[str, Any]:
        log.warning("%r: %s", name, failure)  # a name may hold a line break
        return self._done(opened, name, {"failure": failure.reason, "detail": failure.detail}, "failed")

    def _done(self, opened: OpenSegment, name: str, outcome: Mapping[str, Any], counter: str) -> dict[str, Any]:
        """Note what became of an item; returns its result line."""
        line = {"id": name, **outcome}
        with self._lock:
            opened.item_done()
            self._lines.append(line)
            setattr(self._progress, counter, getattr(self._progress, counter) + 1)
            if self._progress.done == self._progress.total:
                self._news.set()
        return line

    def _check_use(self, failure: ItemFailure) -> None:
        """Raise ServerRefusedError where so many items fail that they cannot be to blame."""
        with self._turn.aside(), self._doubt:  # who fails meanwhile waits for what comes of it, and asks for no more
            self._failed_in_a_row += 1
            if self._failed_in_a_row % FAILURES_IN_A_ROW:
                return
            if (self._progress.answered or self._progress.reused) and not self._client.rejection():
                return
            raise ServerRefusedError(
                f"the last {FAILURES_IN_A_ROW} items that were asked for all failed, so it is hardly their own fault; "
                f"the last one with {failure}. What is answered is kept: look into the server's log and the settings "
                "(model, sampling, max_tokens, prompts), then run the same command again."
            )


def _place(item: Mapping[str, Any]) -> int:
    return question_place(item["images"]) if "images" in item else place(item["id"])
