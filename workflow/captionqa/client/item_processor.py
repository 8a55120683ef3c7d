"""The fate of one item: an answer from the journal, from an identical item or from the server, or a named failure."""

import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path

from captionqa.client.answer import Answer
from captionqa.client.chat_request import ChatRequest
from captionqa.client.chunk_job import ChunkJob
from captionqa.client.chunk_result import FailureRecord, ResultLine
from captionqa.client.cpu_turn import CpuTurn
from captionqa.client.decoding_notes import DecodingNotes
from captionqa.client.duplicate_requests import DuplicateRequests
from captionqa.client.failure_streak import FailureStreak
from captionqa.client.image_leads import ImageLeads, Turn
from captionqa.client.image_transport import ImageTransport
from captionqa.client.item import Item, request_key
from captionqa.client.journal import ItemMark, JournalLine, JournalOutcome, JournalSegment, SegmentJournals
from captionqa.client.known_images import KnownImages
from captionqa.client.letter_fallback import LETTER_TOKENS, allowed_letters
from captionqa.client.retrying_client import RetryingClient
from captionqa.client.schema_answer import check_schema_answer
from captionqa.config.model_versions import may_be_of
from captionqa.dataset.changed_files import ChangedFiles
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.question_repeats import shown_id
from captionqa.errors import ItemFailure
from captionqa.run.progress import Outcome, Progress
from captionqa.server.endpoint import Endpoint

#: Takes an item's result line, once.
Finish = Callable[[SegmentJournals, ResultLine, Outcome], None]
#: Takes an item that is to be processed later.
PutBack = Callable[[SegmentJournals, ItemEntry], None]
#: Images of fewer bytes are sent with each request at once: a server decodes them in less time than waiting costs.
WORTH_WAITING_BYTES = 100_000

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _PendingItem:
    """An item and the journals that its answer goes to."""

    journals: SegmentJournals
    entry: ItemEntry
    item: Item


class ItemProcessor:
    """Brings items to their outcomes; safe to share between threads.

    What changes here guards itself: the identical items, the failures in a row and the journals.
    """

    def __init__(
        self,
        job: ChunkJob,
        client: RetryingClient,
        progress: Progress,
        changed: ChangedFiles,
        finish: Finish,
        put_back: PutBack,
        notes: DecodingNotes,
    ):
        """`progress` counts what `finish` is given, and the threads' time; files not as planned go to `changed`.

        `put_back` takes items that wait for another.
        """
        self._notes = notes
        self._settings = job.settings
        self._model_version = job.model_version
        self._sources = ImageSources(
            job.dataset.resolve(), [Path(root).resolve() for root in job.client.images.allowed_roots], job.urls
        )
        self._captions = job.captions
        self._transport = ImageTransport(job.client.image_transport, self._sources.dataset)
        self._changed = changed
        self._deduplicate = job.client.deduplicate
        self._client = client
        self._thread_time = progress.thread_time
        self._finish = finish
        self._put_back = put_back
        self._known_images = KnownImages(client.holders) if client.names_images else None
        self._leads: ImageLeads[tuple[SegmentJournals, ItemEntry]] = ImageLeads()
        self._turn = CpuTurn(progress.thread_time.add_working)
        self._duplicates: DuplicateRequests[_PendingItem] = DuplicateRequests()
        self._failures = FailureStreak(lambda: bool(progress.answered or progress.reused), client.rejection)

    def process(self, journals: SegmentJournals, entry: ItemEntry) -> None:
        """Bring an item to its outcome, or leave it to the thread that asks for an identical one.

        Raises ServerDeadError, ServerRefusedError, RunStoppedError, DiskFullError or another OSError.
        """
        try:
            with self._turn:
                self._process(journals, entry)
        except ItemFailure as failure:
            self._fail(journals, entry["id"], failure)

    @property
    def held_back(self) -> int:
        """How many items wait until another has brought their images to a server."""
        return len(self._leads)

    def _process(self, journals: SegmentJournals, entry: ItemEntry) -> None:
        """Take the answer from the journal or from an identical item, or ask the server; raises ItemFailure."""
        item = Item(
            entry,
            self._settings,
            self._sources,
            self._transport,
            self._changed,
            self._notes,
            self._captions,
            self._known_images,
        )
        pending = _PendingItem(journals, entry, item)
        known = self._known(journals.main, item)
        if known is not None:
            line: ResultLine = {"id": item.id, "answer": known["answer"]}
            if "same_as" in known:
                line["same_as"] = known["same_as"]
            line = self._complete(pending, line)
            self._finish(journals, line, "reused")
            self._share_with_waiting(item, item.key(), line)
        else:
            self._request_in_turn(pending)

    def _request_in_turn(self, pending: _PendingItem) -> None:
        """Make an item's request, or leave it until another has brought its images to a server."""
        images = pending.item.image_names()
        turn = Turn.GO
        if self._may_wait_for_images(pending.item):
            turn = self._leads.join(images, (pending.journals, pending.entry), self._client.room_for_images())
        if turn is Turn.WAIT:
            return
        is_over = True
        try:
            is_over = self._request(pending)
        finally:
            if turn is Turn.LEAD:
                for waiting in self._leads.end(images, in_vain=is_over and not pending.item.is_held_somewhere()):
                    self._put_back(*waiting)

    def _may_wait_for_images(self, item: Item) -> bool:
        """Whether an item's images are worth waiting for until a server holds them, and none does yet."""
        if self._known_images is None or item.planned_bytes() < WORTH_WAITING_BYTES:
            return False
        return not item.is_held_somewhere()

    def _request(self, pending: _PendingItem) -> bool:
        """Make an item's request, and send it unless an identical one is or was sent; False while that is on its way.

        Raises ItemFailure.
        """
        item = pending.item
        request = item.request(self._settings["max_tokens"])
        key = item.key()
        is_first, settled = self._duplicates.join(key, pending) if self._deduplicate else (True, None)
        if is_first:
            self._ask(pending, request, key)
        elif settled is not None:
            self._share(pending, settled)
        return is_first or settled is not None

    def _ask(self, pending: _PendingItem, request: ChatRequest, key: Hashable) -> None:
        """Send an item's request; its outcome is also that of the items that wait for an identical one."""
        item = pending.item
        try:
            answer = self._send(pending.journals.main, item, request)
        except ItemFailure as failure:
            damage = item.damage_behind(failure)
            line = self._fail(pending.journals, item.id, damage or failure)
            if damage is None and item.key() == key:
                with self._turn.paused():
                    self._failures.add(failure)
        else:
            self._failures.end()
            line = self._complete(pending, {"id": item.id, "answer": answer})
            self._finish(pending.journals, line, "answered")
        self._share_with_waiting(item, key, line)

    def _complete(self, pending: _PendingItem, line: ResultLine) -> ResultLine:
        """Add the files' digests and, where a fallback is asked for, its answer or its failure."""
        line["files"] = pending.item.digests()
        fallback = self._fallback(pending, line["answer"])
        if fallback is not None:
            line["fallback"] = fallback
        return line

    def _fallback(self, pending: _PendingItem, answer: Answer) -> Answer | FailureRecord | None:
        """What the letter fallback brings; None where it is off or the first answer names an option."""
        journal, item = pending.journals.fallback, pending.item
        if journal is None or item.question is None:
            return None
        letters = allowed_letters(item.question, answer, item.choices_added)
        if not letters:
            return None
        first_answer = answer["text"]
        try:
            if (known := self._known(journal, item, first_answer)) is not None:
                return known["answer"]
            request = replace(item.request(LETTER_TOKENS), first_answer=first_answer, allowed_answers=letters)
            return self._send(journal, item, request, first_answer)
        except ItemFailure as failure:
            log.warning("%r, asked for its letter alone: %s", shown_id(item.id), failure)
            return {"failure": failure.reason, "detail": failure.detail}

    def _send(
        self, journal: JournalSegment, item: Item, request: ChatRequest, first_answer: str | None = None
    ) -> Answer:
        """The server's answer, journaled if it is one; each crash of a server on the way is journaled too."""
        crashes = _Crashes(journal, item.mark(first_answer))

        def send(request: ChatRequest) -> Answer:
            with self._turn.paused(), self._thread_time.asking():
                return self._client.ask(request, crashes.count, crashes.add)

        answer = self._transport.answer(send, request)
        check_schema_answer(answer, self._settings)
        _append(journal, item.mark(first_answer), {"answer": answer})  # now: a file may have been read on the way
        return answer

    def _known(self, journal: JournalSegment, item: Item, first_answer: str | None = None) -> JournalLine | None:
        """The journal's answer to an item as it is, of the model as it is; raises ItemFailure as `Item.matches`."""
        line = journal.answers.get(item.id)
        if line is None or not may_be_of(self._model_version, line["answer"]["server"]):
            return None
        return line if item.matches(line, first_answer) else None

    def _share_with_waiting(self, item: Item, key: Hashable, line: ResultLine) -> None:
        """Settle the items that wait for a request of this key, unless an image changed before it was sent."""
        if not self._deduplicate:
            return
        if item.key() == key:
            for waiting in self._duplicates.settle(key, line):
                self._share(waiting, line)
        else:
            for waiting in self._duplicates.withdraw(key):
                self._put_back(waiting.journals, waiting.entry)

    def _share(self, pending: _PendingItem, line: ResultLine) -> None:
        """Give an item the outcome of another whose request is identical."""
        journals, item = pending.journals, pending.item
        shared: ResultLine = {**line, "id": item.id}
        shared.pop("same_as", None)
        shared["same_as"] = line.get("same_as", line["id"])
        if "answer" in shared:
            answer, fallback = shared["answer"], shared.get("fallback")
            _append(journals.main, item.mark(), {"answer": answer, "same_as": shared["same_as"]})
            if journals.fallback is not None and fallback is not None and "text" in fallback:
                _append(journals.fallback, item.mark(answer["text"]), {"answer": fallback})
        self._finish(journals, shared, "shared" if "answer" in shared else "failed")

    def _fail(self, journals: SegmentJournals, item_id: str, failure: ItemFailure) -> ResultLine:
        log.warning("%r: %s", shown_id(item_id), failure)  # an id may hold a line break
        line: ResultLine = {"id": item_id, "failure": failure.reason, "detail": failure.detail}
        self._finish(journals, line, "failed")
        return line


class _Crashes:
    """The crashes of a server during one request, over all runs."""

    def __init__(self, journal: JournalSegment, mark: ItemMark):
        self._journal = journal
        self._mark = mark
        lines = journal.crashes.get(mark["id"], ())
        self.count = sum(request_key(line) == request_key(mark) for line in lines)

    def add(self, server: Endpoint) -> None:
        self.count += 1
        _append(self._journal, self._mark, {"crashed": f"generation {server.generation} at {server.url}"})


def _append(journal: JournalSegment, mark: ItemMark, outcome: JournalOutcome) -> None:
    journal.append({**mark, "time": round(time.time(), 3), **outcome})
