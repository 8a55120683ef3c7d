"""What a page lists: the captions and the questions of complete results, each with what filters need of it."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings, caption_settings, fingerprint
from captionqa.dataset.final_files import planned_files
from captionqa.dataset.plan import load_plan
from captionqa.errors import ResultError
from captionqa.files import read_json
from captionqa.page import captions, questions
from captionqa.page.answer_columns import AnswerColumn, answer_columns, cell_of, differences_of, read_comparison
from captionqa.page.captions_read import CaptionsRead
from captionqa.page.failure_rows import FailureRows
from captionqa.page.judgements import judge_figures
from captionqa.page.overview import Accuracy, Part, accuracy, compared_accuracy, model_facts, part
from captionqa.page.questions import AnswerCounts, QuestionItem
from captionqa.page.sample import Kind, Sample, limits_for
from captionqa.page.thumbnails import PageImage
from captionqa.results.comparison_records import Comparison
from captionqa.results.provenance import Provenance, read_provenance

#: Items of a file that the page loads at once.
SHARD_ITEMS = 250


class Kept(Protocol):
    """Keeps the items that a page lists, all or a sample."""

    def add(self, kind: Kind, name: str, item: Any) -> None: ...

    def shares(self) -> dict[Kind, tuple[int, int]]: ...

    def ordered(self, key: Callable[[Any], Any]) -> Sequence[Any]: ...


#: Makes a Kept for this many items.
Keep = Callable[[int], Kept]


@dataclass(frozen=True)
class PageList:
    """One list of a page."""

    #: captions, questions or flips: the part of the overview that describes it, and the beginning of its files' names.
    name: str
    #: The folder that the items' images are relative to.
    dataset: str
    #: Records with `images` and `has_pictures`, in the page's order.
    items: Sequence[Any]
    #: The list's part of the overview.
    index: dict[str, Any]
    #: Its images by their references, once the page's folder has them.
    images: dict[str, PageImage] = field(default_factory=dict)
    #: Of questions that were asked with captions: these, which their cards show.
    captions_read: CaptionsRead | None = None

    @property
    def is_sampled(self) -> bool:
        """Whether it has a part of the items."""
        return bool(len(self.items) < self.index["counts"]["all"])

    def card(self, item: Mapping[str, Any], images: Mapping[str, PageImage]) -> dict[str, Any]:
        """An item as its card shows it, with its images by their references."""
        if self.captions_read is not None:
            self.captions_read.add_to(item)  # type: ignore[arg-type]  # an item of questions
        shown = {key: value for key, value in item.items() if key not in ("files", "has_pictures")}
        return shown | {"images": [images[text] for text in item["images"]]}


@dataclass
class PageContents:
    """All that a page shows."""

    lists: list[PageList] = field(default_factory=list)
    #: All failures, where the lists do not have them all.
    failures: FailureRows | None = None
    parts: list[Part] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=dict)

    def add(
        self,
        name: str,
        dataset: str,
        items: Sequence[Any],
        index: Mapping[str, Any],
        captions_read: CaptionsRead | None = None,
    ) -> None:
        index = {**index, "shard_items": SHARD_ITEMS}
        self.lists.append(PageList(name, dataset, items, index, captions_read=captions_read))

    def add_part(self, name: str, provenance_path: str) -> None:
        """Describe a final file; raises ResultError where it is missing."""
        stored: Provenance | None = read_provenance(provenance_path)
        if stored is None:
            raise _missing(provenance_path)
        self.parts.append(part(name, stored))
        if self.model.get("name") in (None, stored["settings"]["model"]):  # of several models the first
            self.model = model_facts(stored)


def sampled(items: int) -> Kept:
    """All of this many items, or a sample of them where they are too many for a page."""
    return Sample[Any](limits_for(items))


def complete_contents(config: Config, layout: Layout, keep: Keep = sampled) -> PageContents:
    """What the page of complete results shows; captions come first, since they describe the images of questions.

    Raises:
        ResultError: a final file or a chunk result is missing or incomplete, or the comparison is of earlier results.
    """
    contents = PageContents()
    layouts = layout.of_models(config.model_names)
    if config.captions is not None:
        _add_captions(contents, config, layout, keep)
    if config.qa is not None:
        _add_questions(contents, config, layout, keep)
    if any(shown.is_sampled for shown in contents.lists):
        contents.failures = FailureRows(Path(layout.page).parent / "data")
        for of_model in layouts:
            before = f"{of_model.model}: " if len(layouts) > 1 else ""
            for file in planned_files(config, of_model):
                contents.failures.add(before + file.name, file.failures)
    return contents


def _add_captions(contents: PageContents, config: Config, layout: Layout, keep: Keep) -> None:
    plan, counts = load_plan(layout, "captions"), Counter[str]()
    chunks: dict[str, tuple[Sequence[str], AnswerSettings]] = {}
    for style in config.prompt_styles:
        contents.add_part(f"Captions {style}", layout.captions(style.lower(), "_provenance"))
        settings = caption_settings(config, layout.model, style)
        paths = plan.results(layout.captions_work(style.lower()), fingerprint(settings))
        if gone := next((path for path in paths if not os.path.exists(path)), None):
            raise ResultError(
                f"{gone} is missing, which the page needs beside the captions; set report.page: false, or run "
                "`captionqa forget` for the captions and run again."
            )
        chunks[style] = paths, settings
    lengths, kept = captions.LengthCounts(), keep(max(each["items"] for each in contents.parts))
    for item in captions.caption_items(chunks):
        captions.count_item(counts, item)
        lengths.add(item)
        kept.add(captions.kind_of(item), item["name"], item)
    items = kept.ordered(captions.page_order)
    if isinstance(items, list):  # else whoever reads them from a disk adds these
        images = captions.listed_images(plan.item_lists(layout, "captions"), {item["name"] for item in items})
        for item in items:
            item["images"] = images.get(item["name"], item["images"])
    index = captions.caption_index(items, list(chunks))
    index |= {"counts": dict(counts), "shares": kept.shares(), "length_bins": lengths.bins(len(chunks))}
    contents.add("captions", config.section("captions").dataset_path, items, index)


def _add_questions(contents: PageContents, config: Config, layout: Layout, keep: Keep) -> None:
    columns, figures = answer_columns(config, layout), []
    sets = [column.answers for column in columns]
    comparison = read_comparison(layout, sets) if len(sets) > 1 else None
    for column in columns:
        contents.add_part(part_name(column, columns), column.answers.companion("provenance"))
        metrics = read_json(column.answers.companion("metrics"))
        if metrics is None:
            raise _missing(column.answers.companion("metrics"))
        cell = cell_of(comparison, column)
        figures.append(accuracy(metrics) if cell is None else compared_accuracy(metrics, cell))
        if config.judge is not None:
            figures[-1]["judge"] = judge_figures(column.answers, config)
    counts = AnswerCounts(len(columns))
    kept = keep(load_plan(layout, "qa").items)
    rows = layout.question_rows(load_plan(layout, "qa").rows or "")
    judged_by = None if config.judge is None else config
    for item in questions.question_items(rows, [column.answers for column in columns], judged_by):
        counts.add(item)
        kept.add(questions.kind_of(item), item["qid"], item)
    items = kept.ordered(questions.page_order)
    index = questions.question_index(items, len(columns)) | {"shares": kept.shares()}
    index |= columns_index(columns, figures, counts, comparison)
    shuffle = config.section("qa").shuffle_choices
    index["judge"] = None if config.judge is None else config.judge.model
    index["is_circular"] = shuffle is not None and shuffle.circular
    contents.add(
        "questions", config.section("qa").dataset_path, items, index, captions_read(config, layout, columns, items)
    )


def part_name(column: AnswerColumn, columns: Sequence[AnswerColumn]) -> str:
    """What the table of what ran calls the answers of a column."""
    return "Questions" if len(columns) == 1 else f"Questions, {column.label}"


def columns_index(
    columns: Sequence[AnswerColumn],
    figures: Sequence[Accuracy],
    counts: AnswerCounts,
    comparison: Comparison | None,
) -> dict[str, Any]:
    """What the overview says of each column, of all together, and of their differences."""
    return {
        "columns": [
            {**column.names(), **figures[number], "counts": counts.column(number)}
            for number, column in enumerate(columns)
        ],
        "patterns": counts.patterns(),
        "counts": {"all": sum(questions for _, questions in counts.patterns())},
        "differences": differences_of(comparison, columns),
    }


def captions_read(
    config: Config, layout: Layout, columns: Sequence[AnswerColumn], items: Iterable[QuestionItem]
) -> CaptionsRead | None:
    """The captions that these questions were asked with; None where all were asked without."""
    if not any(column.context.captions for column in columns):
        return None
    return CaptionsRead(config, layout, columns, {image for item in items for image in item["images"]})


def _missing(path: str) -> ResultError:
    return ResultError(f"{path} is missing; run the workflow again to write it.")
