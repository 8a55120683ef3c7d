"""Which items need a request, as far as the driver sees without reading an image: without any, no server has to start.

An item needs none if the journal has its answer and its files have not changed, or if it fails before its request.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from captionqa.client.decoding_notes import DecodingNotes
from captionqa.client.image_transport import ImageTransport
from captionqa.client.item import Item
from captionqa.client.journal import JournalLine, read_lines, segment_of
from captionqa.client.question_captions import QuestionCaptions
from captionqa.config.answer_files import journal_segment, journal_segments
from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.model_versions import ModelVersion, may_be_of
from captionqa.config.settings import FALLBACK, AnswerSettings, answer_fingerprint
from captionqa.dataset.caption_links import CaptionLinks
from captionqa.dataset.changed_files import ChangedFiles
from captionqa.dataset.final_files import FinalFile, asked_files, final_files, model_items_to_do
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.places import entry_place
from captionqa.dataset.plan import load_plan
from captionqa.dataset.question_repeats import is_first, question_of
from captionqa.errors import ItemFailure
from captionqa.files import read_json_lines

#: Up to this many items a dry run reads the journals, for an exact count.
COUNTED = 200_000


class ItemChecker:
    """Finds the faults of items that need no look into their files: missing images, and paths out of the data set."""

    def __init__(self, config: Config, task: Task, settings: AnswerSettings):
        self._settings = settings
        self._sources = ImageSources.of_task(config, task)
        self._transport = ImageTransport("bytes", self._sources.dataset)

    def item(self, entry: ItemEntry, captions: QuestionCaptions | None = None) -> Item:
        """The item of an entry; raises ItemFailure where it would fail before its request."""
        item = Item(
            entry,
            self._settings,
            self._sources,
            self._transport,
            ChangedFiles(),
            DecodingNotes(None),
            captions,
        )
        item.check_marks()
        return item


@dataclass(frozen=True)
class PendingRequests:
    """The requests that a task has to send."""

    #: Images or questions, each counted once for all prompt styles, contexts and repeats.
    items: int
    requests: int
    #: Whether they were not looked at one by one, so that the journal may answer some; or captions that decide this, or
    #: some answers that a judge may get, are not there yet.
    at_most: bool = False


def needs_server(config: Config, layout: Layout, results: Collection[str], version: ModelVersion | None = None) -> bool:
    """Whether a chunk of the layout's model with one of these results may have a request to send, of any data set.

    It looks no further than to the first.

    `version` is that of the model that the run is planned with.
    """
    unseen = set(results)
    for each, of_data in config.by_data_set(layout):
        for chunk in _chunks(each, of_data, results, version):
            unseen.remove(chunk.result)
            if any(True for _ in chunk.pending):
                return True
    return bool(unseen)  # a chunk that is not in the plan


def judge_needs_server(config: Config, layout: Layout, version: ModelVersion | None) -> bool:
    """Whether the layout's model, as the judge, may have a request, now that it is known which answers it gets."""
    results = [
        path
        for each, of_data in config.by_data_set(layout)
        for file in final_files(each, of_data, "judge")
        for path in file.results(each, of_data)
    ]
    return needs_server(config, layout, results, version)


def count_requests(
    config: Config, layout: Layout, results: Collection[str], version: ModelVersion | None = None
) -> dict[Task, PendingRequests]:
    """What each task's chunks with these results have to send, of the layout's model and data set.

    Above `COUNTED` items it is the most that it can be.
    """
    to_do = model_items_to_do(config, layout)
    if sum(to_do.values()) > COUNTED:
        images = {task: load_plan(layout, "captions" if task == "captions" else "qa").items for task in to_do}
        return {task: PendingRequests(min(images[task], n), n, at_most=True) for task, n in to_do.items()}
    items: dict[Task, set[str]] = {task: set() for task in to_do}
    requests: Counter[Task] = Counter()
    at_most: set[Task] = set()
    for chunk in _chunks(config, layout, results, version):
        found = list(chunk.pending)
        # of a judge answers are counted, of which there are several to a question
        prefix = f"{chunk.file_name}\n" if chunk.task == "judge" else ""
        items[chunk.task].update(prefix + question_of(item) for item in found)
        requests[chunk.task] += len(found)
        if chunk.at_most and found:
            at_most.add(chunk.task)
    return {task: PendingRequests(len(items[task]), requests[task], task in at_most) for task in to_do}


@dataclass(frozen=True)
class _Chunk:
    """A planned chunk that is going to run."""

    task: Task
    file_name: str
    result: str
    #: The items that may have a request to send.
    pending: Iterator[str]
    #: Whether it is not known yet which of them a judge gets, or which captions they are asked with.
    at_most: bool = False


def _chunks(config: Config, layout: Layout, results: Collection[str], version: ModelVersion | None) -> Iterator[_Chunk]:
    """Each planned chunk with one of these results."""
    wanted = set(results)
    for file in asked_files(config, layout):
        plan = file.plan(layout)
        checker = ItemChecker(config, file.task, file.settings)
        links = None if file.context is None else CaptionLinks.of(config, layout, file.context)
        unknown = {} if file.judged is None else file.judged.unknown_chunks()
        lists = file.item_lists(layout)
        for chunk, items, result in zip(plan.chunks, lists, file.results(config, layout), strict=True):
            if result not in wanted:
                continue
            if chunk.number in unknown:
                ids = (entry["id"] for entry in read_json_lines(unknown[chunk.number]))
                yield _Chunk(file.task, file.name, result, filter(is_first, ids), at_most=True)
                continue
            held = [] if links is None else links.paths[chunk.number]
            if not all(map(os.path.exists, held)):  # with which captions is not known yet
                ids = (entry["id"] for entry in read_json_lines(items))
                may_be_answered = any(journal_segments(file.files.journal))
                yield _Chunk(file.task, file.name, result, ids, at_most=may_be_answered)
                continue
            captions = None
            if file.context is not None and links is not None:
                captions = QuestionCaptions.read(config, layout, file.context, Path(items), held)
            yield _Chunk(file.task, file.name, result, _pending(items, checker, captions, file, version))


def _pending(
    items: str,
    checker: ItemChecker,
    captions: QuestionCaptions | None,
    file: FinalFile,
    version: ModelVersion | None,
) -> Iterator[str]:
    """The ids of the items of one list that may have a request to send."""
    for index, entries in groupby(read_json_lines(items), key=lambda entry: segment_of(entry_place(entry))):
        answers = _answers(journal_segment(file.files.journal, index), file.settings, version)
        for entry in entries:
            try:
                if not _is_answered(checker.item(entry, captions), answers.get(entry["id"])):
                    yield entry["id"]
            except ItemFailure:
                continue


def _is_answered(item: Item, line: JournalLine | None) -> bool:
    """Whether a journal line answers an item by its prompt and its files' stamps."""
    return line is not None and [stamp for _, stamp, _ in line["files"]] == item.stamps() and item.matches(line)


def _answers(segment: Path, settings: AnswerSettings, version: ModelVersion | None) -> dict[str, JournalLine]:
    """{item: its newest answer}; empty with the letter fallback, since an answer may need another request then."""
    if FALLBACK in settings or not segment.exists():
        return {}
    current = answer_fingerprint(settings)
    lines = (line for line in read_lines(segment) if line["fingerprint"] == current and "answer" in line)
    newest = {line["id"]: line for line in lines}
    return {item: line for item, line in newest.items() if may_be_of(version, line["answer"]["server"])}
