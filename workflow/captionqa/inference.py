"""Asking for a chunk: what the journal knows comes from there, the rest is asked, each answer is journaled at once."""

import hashlib
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from captionqa import endpoint
from captionqa.chunks import place, question_place
from captionqa.client import Answer, Client
from captionqa.errors import ItemFailure, Reason
from captionqa.fallback import FOLDER, LETTER_TOKENS, letters_to_ask
from captionqa.files import atomic_writer, json_line, read_json_lines
from captionqa.images import data_url, locate, read_bytes
from captionqa.journal import Segment, segment
from captionqa.lease import LeaseWatch
from captionqa.pool import Pool
from captionqa.progress import Progress
from captionqa.prompts import chat_messages, letter_messages, question_text
from captionqa.settings import FALLBACK, answer_fingerprint, fingerprint, image_budget_px

BEAT_S = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChunkJob:
    """What a chunk needs: its items, where answers go, and the settings that decide them."""

    name: str
    items: Path
    result: Path
    journal: Path
    progress: Path
    server: Path
    dataset: Path
    settings: Mapping[str, Any]
    client: Mapping[str, Any]
    lease_timeout_s: float
    trust_env: bool


class _OpenSegment:
    """A segment of the journal, and of the fallback's where there is one, that closes when its last item is done."""

    def __init__(self, journal: Segment, fallback: Segment | None, items: int):
        self.journal = journal
        self.fallback = fallback
        self._left = items

    def item_done(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.journal.close()
            if self.fallback is not None:
                self.fallback.close()


class ChunkRun:
    """One run over a chunk; `run` writes the chunk's result when every item has an answer or a named failure."""

    def __init__(self, job: ChunkJob):
        self._job = job
        self._fingerprint = fingerprint(job.settings)
        self._dataset = job.dataset.resolve()
        self._roots = [Path(root).resolve() for root in job.client["images"]["allowed_roots"]]
        self._lease = LeaseWatch(job.server, job.lease_timeout_s)
        self._pool = Pool(job.server, LeaseWatch(job.server, job.lease_timeout_s), job.client["server_wait_s"])
        self._client = Client(
            self._pool, job.client, endpoint.read_key(job.server), job.settings["sampling"], job.trust_env
        )
        self._work: queue.Queue[tuple[_OpenSegment, dict[str, Any]]] = queue.Queue(job.client["concurrency"])
        self._lock = threading.Lock()
        self._lines: list[dict[str, Any]] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Raises ServerDeadError, RunStoppedError or OSError; what was answered until then is in the journal."""
        items = list(read_json_lines(self._job.items))
        self._progress = Progress(self._job.progress, len(items))
        started = time.time()
        for number in range(self._job.client["concurrency"]):
            threading.Thread(target=self._ask_from_queue, daemon=True, name=f"ask-{number}").start()
        try:
            for index, members in groupby(items, key=lambda item: segment(_place(item))):
                self._feed(index, list(members))
            while self._progress.done < len(items):
                self._beat()
                time.sleep(BEAT_S / 5)
            self._check_error()
        finally:
            self._pool.stopped.set()  # the threads are daemons: none of them holds up the end of the process
            self._progress.beat(last=True)
        self._write_result(started)

    def _feed(self, index: int, items: list[dict[str, Any]]) -> None:
        """Lock a segment and hand its items to the threads."""
        answers = answer_fingerprint(self._job.settings)
        journal = Segment(self._job.journal, index, answers, wait=self._wait_for_segment)
        fallback = None
        if FALLBACK in self._job.settings:
            folder = self._job.journal.with_name(FOLDER)
            fallback = Segment(folder, index, self._fingerprint, wait=self._wait_for_segment)
        opened = _OpenSegment(journal, fallback, len(items))
        for item in items:
            while True:
                self._beat()
                try:
                    self._work.put((opened, item), timeout=BEAT_S)
                    break
                except queue.Full:
                    continue

    def _wait_for_segment(self) -> None:
        self._beat()
        time.sleep(BEAT_S)

    def _beat(self) -> None:
        self._check_error()
        self._lease.check()
        self._progress.beat()

    def _check_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _ask_from_queue(self) -> None:
        while not self._pool.stopped.is_set():
            opened, item = self._work.get()
            try:
                line, counter = self._one(opened, item)
            except ItemFailure as failure:
                line, counter = {"id": item["id"], "failure": failure.reason, "detail": failure.detail}, "failed"
                log.warning("%r: %s", item["id"], failure)  # a name may hold a line break
            except BaseException as error:
                with self._lock:
                    self._error = self._error or error
                return
            with self._lock:
                self._lines.append(line)
                setattr(self._progress, counter, getattr(self._progress, counter) + 1)
                opened.item_done()

    def _one(self, opened: _OpenSegment, item: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The result line of one item and the counter that it goes to; raises ItemFailure."""
        images = [item["id"]] if "images" not in item else item["images"]
        settings = self._job.settings
        question, instruction = item.get("question"), settings.get("instruction")
        text = settings["prompt"] if question is None else question_text(question, instruction)
        paths = [locate(self._dataset, name, self._roots) for name in images]
        files = [_File(name, path, stamp) for name, path, stamp in zip(images, paths, item["stamps"], strict=True)]
        counter, answer = "reused", _known(opened.journal, item["id"], text, files)
        if answer is None:
            counter, answer = "answered", _plain(self._client.ask(self._messages(text, files), settings["max_tokens"]))
            self._append(opened.journal, item["id"], text, files, answer)
        line = {"id": item["id"], "answer": answer, "files": [file.digest for file in files]}
        if opened.fallback is not None and (letters := letters_to_ask(question, answer["text"])):
            line[FALLBACK] = self._letter(opened.fallback, item["id"], text, files, answer["text"], letters)
        return line, counter

    def _letter(
        self, journal: Segment, name: str, text: str, files: Sequence["_File"], said: str, letters: str
    ) -> dict[str, Any]:
        """The fallback's answer; where there is none its failure, which does not touch the answer."""
        conversation = f"{text}\0{said}"
        answer = _known(journal, name, conversation, files)
        if answer is None:
            try:
                messages = letter_messages(self._messages(text, files), said)
                answer = _plain(self._client.ask(messages, LETTER_TOKENS, choice=letters))
            except ItemFailure as failure:
                log.warning("%s, asked for its letter alone: %s", name, failure)
                return {"failure": failure.reason, "detail": failure.detail}
            self._append(journal, name, conversation, files, answer)
        return answer

    def _messages(self, text: str, files: Sequence["_File"]) -> list[dict[str, Any]]:
        """The conversation that asks about these files; raises ItemFailure."""
        budget_px = image_budget_px(self._job.settings, len(files))
        urls = []
        for file in files:
            try:
                urls.append(data_url(file.read(), self._job.settings["images"], budget_px))
            except ItemFailure as failure:
                raise ItemFailure(failure.reason, f"{file.name!r}: {failure.detail}") from failure
        try:
            return chat_messages(text, urls)
        except ValueError as error:
            raise ItemFailure(Reason.MISSING_IMAGE, str(error)) from error

    def _append(self, journal: Segment, name: str, text: str, files: Sequence["_File"], answer: dict[str, Any]) -> None:
        line = {"id": name, "prompt": _digest(text.encode()), "files": [file.mark() for file in files]}
        with self._lock:
            journal.append({**line, "time": round(time.time(), 3), "answer": answer})

    def _write_result(self, started: float) -> None:
        self._lines.sort(key=lambda line: line["id"])
        header = {
            "chunk": self._job.name,
            "fingerprint": self._fingerprint,
            "settings": self._job.settings,
            "items": len(self._lines),
            "asked": self._progress.answered,
            "known": self._progress.reused,
            "failed": self._progress.failed,
            "started": started,
            "finished": time.time(),
            "client": {"host": socket.gethostname(), "job": os.environ.get("SLURM_JOB_ID")},
            "servers": [endpoint.summary(entry) for entry in endpoint.read_all(self._job.server)],
        }
        with atomic_writer(self._job.result) as file:
            file.write(json_line(header))
            file.writelines(map(json_line, self._lines))


class _File:
    """An image file of an item; its content's digest is known once it was read or found in the journal."""

    def __init__(self, name: str, path: Path, stamp: list[int] | None):
        self.name = name
        self.stamp = stamp
        self._path = path
        self.digest: str | None = None

    def read(self) -> bytes:
        data = read_bytes(self._path)
        self.digest = _digest(data)
        return data

    def mark(self) -> list[Any]:
        """Name, stamp and content digest, as the journal keeps them."""
        return [self.name, self.stamp, self.digest]

    def same_as(self, mark: list[Any]) -> bool:
        name, stamp, digest = mark
        if self.name != name:
            return False
        unchanged = self.stamp is not None and self.stamp == stamp
        self.digest = digest if unchanged else _digest(read_bytes(self._path))
        return self.digest == digest


def _known(journal: Segment, name: str, text: str, files: Sequence[_File]) -> dict[str, Any] | None:
    """The journal's answer to this text about these files, if it has one."""
    line = journal.answers.get(name)
    if line is not None and line["prompt"] == _digest(text.encode()) and _same_files(line["files"], files):
        return line["answer"]
    return None


def _same_files(marks: list[list[Any]], files: Sequence[_File]) -> bool:
    return len(marks) == len(files) and all(file.same_as(mark) for file, mark in zip(files, marks, strict=True))


def _place(item: Mapping[str, Any]) -> int:
    return question_place(item["images"]) if "images" in item else place(item["id"])


def _plain(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "server": answer.server,
    }


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()
