"""The pace of a chunk job beside those that ask about the same images at the same time.

A server keeps its last images. An image that several jobs ask about is decoded and preprocessed once if the first job
is ahead of the last by fewer images than the server keeps. So each job publishes which image it sends next, and one
that is too far ahead waits for the others. One that begins late goes on where the others are, and what it left out
follows at its end (as with synchronized scans: Zukowski, Heman, Nes & Boncz, "Cooperative Scans", VLDB 2007).

The job that is furthest behind never waits, so some job always goes on. A job that stands still, whatever the reason,
is waited for no longer than its patience; one that is too far behind is not waited for at all.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from captionqa.client.chunk_job import ChunkJob
from captionqa.client.item_stream import ItemStream, following
from captionqa.config.settings import AnswerSettings
from captionqa.config.vllm_options import DEFAULT_IMAGE_CACHE_GB, IMAGE_CACHE_GB, option_value
from captionqa.run.positions import ImageKey, Position, PositionFile, PositionWatch
from captionqa.run.progress import Progress
from captionqa.server import endpoint

#: The smallest window, in images. Where the server keeps fewer than twice as many, keeping together gains nothing.
MIN_WINDOW = 8
#: The fewest requests in flight that a job beside others may have. More than a window of them would push one another's
#: images out of the cache before another job asks about these.
MIN_IN_FLIGHT = 32
#: For this long after its start, in seconds, a job expects the others, and has no more than that in flight.
START_S = 10.0
#: The largest window, in images.
MAX_WINDOW = 4096
#: The window is what the server keeps, divided by this: images of jobs behind this one are among what it keeps.
MARGIN = 2
#: A job that is behind by more windows than this is not waited for. It is more than the server keeps: jobs send many
#: images before they see one another, and to let one catch up costs less than to go on apart.
REACH = 4
#: A job that does not move for this long is not waited for, or for PATIENCE_REQUESTS of the own requests' time.
PATIENCE_S = 5.0
#: Requests that are sent at once end at once, so that a job may stand still for the time of one.
PATIENCE_REQUESTS = 2.0
#: The most that a job waits for one that does not move.
MAX_PATIENCE_S = 30.0
#: Seconds between two looks at the others by a job that waits.
LOOK_S = 0.05
#: Seconds between two looks at the own requests by a job that has too many of them in flight.
SLOT_S = 0.005
#: Seconds between two records of the own position, which is also published after each part of the window.
PUBLISH_S = 0.1
PUBLISHED_PARTS = 8
#: Bytes of a preprocessed image for each pixel: three colours in two frames (Qwen-VL makes two of each image), 16 bits.
BYTES_PER_PX = 12

log = logging.getLogger(__name__)


@dataclass
class Waits:
    """What became of the waits of a job."""

    #: How often it waited.
    count: int = 0
    #: For how long in all.
    seconds: float = 0.0
    #: The jobs that it went on without, since they stood still.
    left: set[str] = field(default_factory=set)


class ServerCache:
    """How many images the servers keep, by their caches and by the size of the images so far.

    `add` may be called by any one thread at a time, the others by the main thread.
    """

    def __init__(self, server: Path, settings: AnswerSettings):
        self._server = server
        self._bytes_per_token = settings["images"]["pixel_grid_px"] ** 2 * BYTES_PER_PX
        self._bytes: float | None = None
        self._requests = self._tokens = 0

    def add(self, prompt_tokens: int) -> None:
        """Count a request; that its text counts as image makes the estimate a cautious one."""
        self._requests += 1
        self._tokens += prompt_tokens

    def window(self) -> int | None:
        """How many images a job may be ahead of others; None while no answer has told the images' size."""
        if not self._tokens:
            return None
        if self._bytes is None:
            caches = [_image_cache_gb(server.argv) for server in endpoint.read_all(self._server)]
            self._bytes = min(caches, default=DEFAULT_IMAGE_CACHE_GB) * 2**30
        kept = self._bytes * self._requests / (self._tokens * self._bytes_per_token)
        return max(MIN_WINDOW, min(int(kept / MARGIN), MAX_WINDOW))


def _image_cache_gb(argv: Sequence[str]) -> float:
    """The image cache of each API server in GiB, by the command line of vLLM; an existing server's is not known."""
    try:
        return float(option_value(argv, IMAGE_CACHE_GB) or DEFAULT_IMAGE_CACHE_GB)
    except ValueError:
        return DEFAULT_IMAGE_CACHE_GB


class ImagePace:
    """Keeps one job together with the others; the chunk's main thread alone uses it, but for `cache`."""

    def __init__(
        self,
        file: PositionFile,
        watch: PositionWatch,
        cache: ServerCache,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.cache = cache
        self.waits = Waits()
        self._file, self._watch = file, watch
        self._clock = clock
        self._image: tuple[int, object] | None = None
        #: The images that were let through, as far as others may be behind.
        self._sent: deque[ImageKey] = deque(maxlen=MAX_WINDOW * REACH + 1)
        #: The image of each item that was let through and that no thread has taken yet.
        self._queued: deque[ImageKey] = deque()
        #: How many images were let through, and up to how many may be without another look at the others.
        self._count = self._until = 0
        #: How many items were let through, and how many of them may be without an outcome.
        self._items, self._most_in_flight = 0, MIN_IN_FLIGHT
        self._began = self._looked_s = clock()
        self._published: ImageKey | None = None
        self._published_count, self._next_record_s = 0, 0.0
        self._is_over = False

    @classmethod
    def of(cls, job: ChunkJob, path: Path) -> "ImagePace":
        """The pace of a chunk's job; `path` is the file of its position."""
        file = PositionFile(path, job.name)
        return cls(file, PositionWatch(path, job.name), ServerCache(job.server, job.settings))

    def next_segment(self, items: ItemStream, left: list[int], last: int) -> int:
        """The journal segment to go on with: where another job is, if that is too far ahead to be met."""
        segment = following(left, last)
        begin, most = items.images_before(segment), 0
        for other, still_s in self._watch.read():
            number, _ = other.key
            if other.window is None or still_s > PATIENCE_S or number not in left:
                continue
            ahead = items.images_before(number) - begin
            if ahead > max(most, REACH * other.window):
                segment, most = number, ahead
        if most:
            log.info("goes on where another job on these images is; %d images before follow at the end", most)
        return segment

    def admit(
        self,
        image: tuple[int, object],
        queued: int,
        progress: Progress,
        wait: Callable[[float], object],
        held_back: Callable[[], int] = lambda: 0,
    ) -> None:
        """Let an item through, once its image is near enough to where the others are.

        `image` is the journal segment of the item and what tells its images from others. `queued` items were let
        through and not taken by a thread yet; `progress` counts those with an outcome. `wait` waits for so many
        seconds and may raise to give up. `held_back` gives how many items wait for another one's request.
        """
        while self._items - progress.done - held_back() >= self._most_in_flight:
            wait(SLOT_S)
            if self._clock() - self._looked_s >= LOOK_S:
                self._look(progress.request_s())
        self._items += 1
        if image != self._image:
            index = self._sent[-1][1] + 1 if self._image is not None and self._image[0] == image[0] else 0
            self._image = image
            self._wait_for_others(progress, wait)
            self._sent.append((image[0], index))
            self._count += 1
        self._queued.append(self._sent[-1])
        self.publish(queued + 1)

    def _wait_for_others(self, progress: Progress, wait: Callable[[float], object]) -> None:
        began = None
        while self._count >= self._until and not self._look(progress.request_s()):
            began = self._clock() if began is None else began
            wait(LOOK_S)
        if began is not None:
            self.waits.count += 1
            self.waits.seconds += self._clock() - began

    def publish(self, queued: int) -> None:
        """Tell the others which image is the next to be sent, if it is time to."""
        while len(self._queued) > queued:
            self._queued.popleft()
        if self._is_over or not self._sent:
            return
        key = self._queued[0] if self._queued else self._sent[-1]
        if key == self._published:
            return
        now, window = self._clock(), self.cache.window()
        if now >= self._next_record_s or self._count - self._published_count >= (window or 0) / PUBLISHED_PARTS:
            self._file.write(key, window)
            self._published, self._published_count, self._next_record_s = key, self._count, now + PUBLISH_S

    def end(self) -> None:
        """All items were sent, or the job fails: nobody has to wait for it any more."""
        if self._is_over:
            return
        self._is_over = True
        self._file.remove()
        if self.waits.count:
            log.info(
                "waited %d times, %.1f s in all, so that the jobs on the same images find them in the server's cache",
                self.waits.count,
                self.waits.seconds,
            )

    def _look(self, request_s: float) -> bool:
        """Look where the others are; whether one more image may be let through."""
        patience_s = min(max(PATIENCE_S, PATIENCE_REQUESTS * request_s), MAX_PATIENCE_S)
        self._looked_s = self._clock()
        others = list(self._watch.read())
        moving = [other for other, still_s in others if still_s <= patience_s]
        chunks = {self._file.chunk, *(other.chunk for other in moving)}
        window = max(MIN_WINDOW, (self.cache.window() or MIN_WINDOW) // len(chunks))
        beside = [other for other in moving if other.is_beside]
        is_starting = self._clock() - self._began < START_S
        is_limited = is_starting or any(self._behind(other) is not None for other in beside)
        self._most_in_flight = max(MIN_IN_FLIGHT, window) if is_limited else sys.maxsize
        self._until = min((self._limit(other, window) for other in beside), default=self._count + window)
        for other, still_s in others:
            stands_still = other.is_beside and still_s > patience_s
            if stands_still and other.job not in self.waits.left and self._limit(other, window) <= self._count:
                self.waits.left.add(other.job)
                log.info("goes on without the job %s, which has not moved for %.0f s", other.job, still_s)
        return self._count < self._until

    def _limit(self, other: Position, window: int) -> int:
        """Up to how many images may be let through for another job's sake."""
        behind = self._behind(other)
        if behind is None or behind > REACH * window:
            return self._count + window
        return self._count - behind + window

    def _behind(self, other: Position) -> int | None:
        """By how many of the own images another job is behind; None where that is not known, 0 where it is ahead."""
        for behind, key in enumerate(reversed(self._sent)):
            if key <= other.key:
                return behind
        return None
