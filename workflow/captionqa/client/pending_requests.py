"""Which items need a request, as far as the driver sees without reading an image: without any, no server has to start.

An item needs none if the journal has its answer and its files have not changed, or if it fails before its request.
"""

import os
from collections.abc import Collection
from itertools import groupby
from pathlib import Path

from captionqa.client.decoding_notes import DecodingNotes
from captionqa.client.image_transport import ImageTransport
from captionqa.client.item import Item
from captionqa.client.journal import JournalLine, read_lines, segment_of
from captionqa.client.question_captions import QuestionCaptions
from captionqa.config.answer_files import journal_segment
from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.model_versions import ModelVersion, may_be_of
from captionqa.config.settings import FALLBACK, AnswerSettings, answer_fingerprint
from captionqa.dataset.caption_links import CaptionLinks
from captionqa.dataset.changed_files import ChangedFiles
from captionqa.dataset.final_files import FinalFile, planned_files
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.places import entry_place
from captionqa.dataset.plan import load_plan
from captionqa.errors import ItemFailure
from captionqa.files import read_json_lines


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


def needs_server(config: Config, layout: Layout, results: Collection[str], version: ModelVersion | None = None) -> bool:
    """Whether a chunk among those with these results may have a request to send; looks no further than to the first.

    `version` is that of the model that the run is planned with.
    """
    unseen = set(results)
    for file in planned_files(config, layout):
        plan = load_plan(layout, file.task)
        checker = ItemChecker(config, file.task, file.settings)
        links = None if file.context is None else CaptionLinks.of(config, layout, file.context)
        lists = plan.item_lists(layout, file.task)
        for chunk, items, result in zip(plan.chunks, lists, file.results(config, layout), strict=True):
            if result not in unseen:
                continue
            unseen.remove(result)
            captions = None
            if file.context is not None and links is not None:
                held = links.paths[chunk.number]
                if not all(map(os.path.exists, held)):  # what will be asked is not known yet
                    return True
                captions = QuestionCaptions.read(config, layout, file.context, Path(items), held)
            if _has_request(items, checker, captions, file, version):
                return True
    return bool(unseen)  # a chunk that is not in the plan


def _has_request(
    items: str,
    checker: ItemChecker,
    captions: QuestionCaptions | None,
    file: FinalFile,
    version: ModelVersion | None,
) -> bool:
    for index, entries in groupby(read_json_lines(items), key=lambda entry: segment_of(entry_place(entry))):
        answers = _answers(journal_segment(file.files.journal, index), file.settings, version)
        for entry in entries:
            try:
                if not _is_answered(checker.item(entry, captions), answers.get(entry["id"])):
                    return True
            except ItemFailure:
                continue
    return False


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
