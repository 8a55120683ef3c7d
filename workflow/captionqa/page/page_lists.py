"""What a page lists: the captions and the questions of complete results, each with what filters need of it."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from captionqa.config.config import Config
from captionqa.config.contexts import IMAGES
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings, caption_settings, fingerprint
from captionqa.dataset.plan import load_plan
from captionqa.errors import ResultError
from captionqa.files import read_json
from captionqa.page import captions, questions
from captionqa.page.overview import Part, accuracy, model_facts, part
from captionqa.page.sample import Kind, Sample, limits_for
from captionqa.page.thumbnails import PageImage
from captionqa.results.provenance import Provenance, read_provenance

#: Items of a file that the page loads at once.
SHARD_ITEMS = 250


class Kept(Protocol):
    """Keeps the items that a page lists, all or a sample."""

    def add(self, kind: Kind, name: str, item: Any) -> None: ...

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


@dataclass
class PageContents:
    """All that a page shows."""

    lists: list[PageList] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    model: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, dataset: str, items: Sequence[Any], index: Mapping[str, Any]) -> None:
        self.lists.append(PageList(name, dataset, items, {**index, "shard_items": SHARD_ITEMS}))

    def add_part(self, name: str, provenance_path: str) -> None:
        """Describe a final file; raises ResultError where it is missing."""
        stored: Provenance | None = read_provenance(provenance_path)
        if stored is None:
            raise _missing(provenance_path)
        self.parts.append(part(name, stored))
        self.model = model_facts(stored)


def sampled(items: int) -> Kept:
    """All of this many items, or a sample of them where they are too many for a page."""
    return Sample[Any](limits_for(items))


def complete_contents(config: Config, layout: Layout, keep: Keep = sampled) -> PageContents:
    """What the page of complete results shows; captions come first, since they describe the images of questions.

    Raises:
        ResultError: a final file or a chunk result is missing or incomplete.
    """
    contents = PageContents()
    if config.captions is not None:
        _add_captions(contents, config, layout, keep)
    if config.qa is not None:
        _add_questions(contents, config, layout, keep)
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
        counts.update({"all": 1, "failed": captions.is_failed(item), "truncated": captions.is_truncated(item)})
        lengths.add(item)
        kept.add(captions.kind_of(item), item["name"], item)
    items = kept.ordered(captions.page_order)
    if isinstance(items, list):  # else whoever reads them from a disk adds these
        images = captions.listed_images(plan.item_lists(layout, "captions"), {item["name"] for item in items})
        for item in items:
            item["images"] = images.get(item["name"], item["images"])
    index = captions.caption_index(items, list(chunks))
    index |= {"counts": dict(counts), "length_bins": lengths.bins(len(chunks))}
    contents.add("captions", config.section("captions").dataset_path, items, index)


def _add_questions(contents: PageContents, config: Config, layout: Layout, keep: Keep) -> None:
    counts = Counter[str]()
    suffix = (IMAGES if IMAGES in config.contexts else config.contexts[0]).suffix
    contents.add_part("Questions", layout.qa("provenance", suffix))
    metrics = read_json(layout.qa("metrics", suffix))
    if metrics is None:
        raise _missing(layout.qa("metrics", suffix))
    rows = layout.question_rows(load_plan(layout, "qa").rows or "")
    kept = keep(metrics["total_questions"])
    for item in questions.question_items(rows, layout.qa("results", suffix), layout.qa("failures", suffix)):
        counts.update({"all": 1, item["status"]: 1, "truncated": item["truncated"]})
        kept.add(questions.kind_of(item), item["qid"], item)
    items = kept.ordered(questions.page_order)
    index = {**accuracy(metrics), **questions.question_index(items), "counts": dict(counts)}
    contents.add("questions", config.section("qa").dataset_path, items, index)


def _missing(path: str) -> ResultError:
    return ResultError(f"{path} is missing; run the workflow again to write it.")
