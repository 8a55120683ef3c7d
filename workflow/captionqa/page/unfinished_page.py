"""The page of a run that did not get to its end: what is answered so far, from chunk results and journals.

Where all results are there, and something else failed, such as a judge, it is the page of these.

A run that ends makes it in a process of its own (`page/run_end.py`), within a time and without a lock: a run may go on
meanwhile.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import captionqa
from captionqa.client.chunk_result import ResultLine, read_chunk
from captionqa.client.journal import read_lines, segment_of
from captionqa.config.answer_files import journal_segment
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings, answer_fingerprint
from captionqa.dataset.final_files import FinalFile, final_files, planned_files, planned_items
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.places import entry_place
from captionqa.dataset.plan import Plan, load_plan
from captionqa.dataset.question_repeats import question_of
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.errors import ItemFailure
from captionqa.files import read_json_lines
from captionqa.grading.scoring import GradingRules
from captionqa.page import captions, questions
from captionqa.page.answer_columns import answer_columns
from captionqa.page.captions import CaptionItem
from captionqa.page.completeness import has_final_files
from captionqa.page.overview import Part, accuracy_of
from captionqa.page.page_lists import PageContents, captions_read, columns_index, part_name
from captionqa.page.pictures import Pictures
from captionqa.page.questions import AnswerCounts, Outcome
from captionqa.page.results_page import overview_of, write_folder, write_page
from captionqa.page.run_figures import run_figures
from captionqa.page.sample import Kind, Sample
from captionqa.results.metrics import Tally
from captionqa.results.qa_record import qa_record

#: The most items of each kind on such a page; the page of complete results has more.
LIMITS: dict[Kind, int] = {"failed": 500, "other": 1500}
#: After this time no more chunks are read, answers graded or thumbnails made.
TIME_S = 8.0
#: With more items in all final files, also complete results have such a page: the other one would take too long.
COMPLETE_ITEMS = 20_000


def write_unfinished_page(config: Config, layout: Layout) -> bool:
    """Write the page; False, and no page, where nothing has an outcome yet.

    Raises:
        CaptionqaError, OSError: a file cannot be read or written.
    """
    if has_final_files(config, layout) and planned_items(config, layout) <= COMPLETE_ITEMS:
        write_page(config, layout, TIME_S)
        _make_old(layout)
        return True
    contents, deadline = PageContents(), time.monotonic() + TIME_S
    planned = [task for task in config.tasks if layout.plan(task).exists()]
    contents.model = {
        "name": layout.model,
        "path": config.model.path,
        "servers": [],
        "captionqa": captionqa.__version__,
        "commit": None,
    }
    for task in planned:
        (_add_captions if task == "captions" else _add_questions)(contents, config, layout, deadline)
    answered = sum(part["answered"] for part in contents.parts)
    failed = sum(part["failed"] for part in contents.parts)
    if not answered + failed:
        return False
    folder = Path(layout.page).parent
    items = sum(part["items"] for part in contents.parts)
    overview = overview_of(contents, config.data_set)
    overview["unfinished"] = {"answered": answered, "failed": failed, "items": items}
    pictures = Pictures.configured(config.client.images, folder / "thumbs", TIME_S / 2)
    write_folder(folder, overview, contents, pictures, run_figures(config, layout))
    _make_old(layout)
    return True


def _make_old(layout: Layout) -> None:
    """Make the page older than all results, so that the next run makes it anew."""
    os.utime(layout.page, (0, 0))


def _add_captions(contents: PageContents, config: Config, layout: Layout, deadline: float) -> None:
    plan = load_plan(layout, "captions")
    shown = {f"captions {style}" for style in config.prompt_styles}  # of several samples the first
    files = [file for file in final_files(config, layout, "captions") if file.name in shown]
    counts, sample, lengths = Counter[str](), Sample[CaptionItem](LIMITS), captions.LengthCounts()
    progress = [_Progress(plan, file.settings) for file in files]
    for entries, lines in _chunks(config, layout, plan, files, deadline):
        for entry in entries:
            found = [style.get(entry["id"]) for style in lines]
            for part, line in zip(progress, found, strict=True):
                part.count(line)
            if any(found):
                item = captions.caption_item(entry["id"], found)
                item["images"] = entry.get("images", item["images"])
                captions.count_item(counts, item)
                lengths.add(item)
                sample.add(captions.kind_of(item), item["name"], item)
    items = sample.ordered(captions.page_order)
    dataset = config.section("captions").dataset_path
    for style, part in zip(config.prompt_styles, progress, strict=True):
        contents.parts.append(part.part(f"Captions {style}", [dataset]))
    if items:
        index = captions.caption_index(items, config.prompt_styles)
        index |= {"counts": dict(counts), "length_bins": lengths.bins(len(files))}
        contents.add("captions", dataset, items, index)


def _add_questions(contents: PageContents, config: Config, layout: Layout, deadline: float) -> None:
    plan, qa, rules = load_plan(layout, "qa"), config.section("qa"), GradingRules.of(config.section("qa"))
    layouts = layout.of_models(config.model_names)
    planned = {file.path: file for each in layouts for file in planned_files(config, each) if file.task == "qa"}
    columns = [column for column in answer_columns(config, layout) if column.answers.results in planned]
    files = [planned[column.answers.results] for column in columns]
    progress, sample = [_Progress(plan, file.settings) for file in files], Sample[_Lines](LIMITS)
    answered_at_all = 0
    for entries, lines in _chunks(config, layout, plan, files, deadline):
        for entry in entries:
            found = [each.get(entry["id"]) for each in lines]
            for part, line in zip(progress, found, strict=True):
                part.count(line)
            if any(found) and question_of(entry["id"]) == entry["id"]:
                answered_at_all += 1
                is_failed = any(line is not None and "failure" in line for line in found)
                sample.add("failed" if is_failed else "other", entry["id"], _Lines(entry["id"], found))
    data = [qa.question_path] if isinstance(qa.question_path, str) else list(qa.question_path)
    for column, part in zip(columns, progress, strict=True):
        contents.parts.append(part.part(part_name(column, columns), [*data, qa.dataset_path]))
    items, tallies, counts = [], [Tally() for _ in columns], AnswerCounts(len(columns))
    kept = {lines.qid: lines.lines for lines in sample}
    for row in read_json_lines(layout.question_rows(plan.rows or "")):
        if row["id"] not in kept or time.monotonic() > deadline + TIME_S:
            continue
        lines_of = zip(kept[row["id"]], tallies, strict=True)
        item = questions.question_item(row, [_graded(row, line, rules, tally) for line, tally in lines_of])
        counts.add(item)
        items.append(item)
    items.sort(key=questions.page_order)
    if items:
        figures = [accuracy_of(tally.metrics(), rules.scoring) for tally in tallies]
        index = questions.question_index(items, len(columns)) | columns_index(columns, figures, counts, None)
        index["counts"]["all"] = answered_at_all
        contents.add("questions", qa.dataset_path, items, index, captions_read(config, layout, columns, items))


class _Lines(NamedTuple):
    """A question's line in each column; None where there is none yet."""

    qid: str
    lines: list[ResultLine | None]


def _graded(row: QuestionRow | InvalidRow, line: ResultLine | None, rules: GradingRules, tally: Tally) -> Outcome:
    if line is None:
        return None
    try:
        record = qa_record(row, line, rules)
        tally.add_record(record)
        return record
    except ItemFailure as failure:
        return {"reason": failure.reason, "detail": failure.detail}


class _Progress:
    """Counts the outcomes of one final file."""

    def __init__(self, plan: Plan, settings: AnswerSettings):
        self._plan, self._settings = plan, settings
        self.answered = self.failed = self.truncated = self.prompt_tokens = self.completion_tokens = 0
        self._reasons: Counter[str] = Counter()

    def count(self, line: ResultLine | None) -> None:
        if line is None:
            return
        if "answer" not in line:
            self.failed += 1
            self._reasons[line["failure"]] += 1
            return
        answer = line["answer"]
        self.answered += 1
        self.truncated += answer["finish_reason"] == "length"
        if "same_as" not in line:
            self.prompt_tokens += answer["prompt_tokens"]
            self.completion_tokens += answer["completion_tokens"]

    def part(self, name: str, data: Sequence[str]) -> Part:
        settings = self._settings
        return {
            "name": name,
            "prompt": settings.get("prompt") or settings.get("instruction"),
            "data": list(data),
            "items": self._plan.items,
            "answered": self.answered,
            "truncated": self.truncated,
            "failed": self.failed,
            "reasons": self._reasons.most_common(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "max_tokens": settings["max_tokens"],
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }


def _chunks(
    config: Config, layout: Layout, plan: Plan, files: Sequence[FinalFile], deadline: float
) -> Iterator[tuple[list[ItemEntry], list[dict[str, ResultLine]]]]:
    """Each chunk's items, with {id: outcome} for each work folder, until the deadline; finished chunks come first."""
    results = [file.results(config, layout) for file in files]
    chunks = zip(plan.item_lists(layout, files[0].task), zip(*results, strict=True), strict=True)
    for item_list, paths in sorted(chunks, key=lambda chunk: -sum(map(os.path.exists, chunk[1]))):
        if time.monotonic() > deadline:
            return
        entries: list[ItemEntry] = list(read_json_lines(item_list))
        yield (
            entries,
            [
                _finished(path) if os.path.exists(path) else _journaled(entries, file.files.journal, file.settings)
                for path, file in zip(paths, files, strict=True)
            ],
        )


def _finished(path: str) -> dict[str, ResultLine]:
    return {line["id"]: line for line in read_chunk(path)[1]}


def _journaled(entries: Iterable[ItemEntry], journal: Path, settings: AnswerSettings) -> dict[str, ResultLine]:
    """The newest answers that the journal has; a run takes those of items that have not changed since."""
    wanted, lines = answer_fingerprint(settings), dict[str, ResultLine]()
    for index, members in groupby(entries, key=lambda entry: segment_of(entry_place(entry))):
        path = journal_segment(journal, index)
        if not path.exists():
            continue
        ids = {entry["id"] for entry in members}
        for line in read_lines(path):
            if line["fingerprint"] == wanted and line["id"] in ids and "answer" in line:
                digests = [mark[2] for mark in line["files"]]
                lines[line["id"]] = {"id": line["id"], "answer": line["answer"], "files": digests}
    return lines


def main() -> None:
    """Write the page of the configuration that stdin has as JSON; exit 1 where there is nothing to show."""
    config = Config.of(json.load(sys.stdin))
    sys.exit(not write_unfinished_page(config, config.layout()))


if __name__ == "__main__":
    main()
