"""Captions on the page: each image with its captions in all styles, or with why one is missing."""

import heapq
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NotRequired, TypedDict

from captionqa.client.chunk_result import ChunkResults, ResultLine
from captionqa.client.final_text import split_answer
from captionqa.config.settings import AnswerSettings
from captionqa.dataset.image_ref import FileRef
from captionqa.errors import Reason
from captionqa.files import read_json_lines
from captionqa.page.answers import IMAGE_FAULTS, cut
from captionqa.page.sample import Kind

#: The most bins of a histogram of lengths, and how many characters wide they may be.
MOST_BINS = 30
BIN_WIDTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class StyleCaption(TypedDict):
    """What one prompt style has for an image: a text, or a reason with its detail."""

    text: NotRequired[str]
    truncated: NotRequired[bool]
    #: The model's reasoning before the text.
    thinking: NotRequired[str]
    reason: NotRequired[str]
    detail: NotRequired[str]


class CaptionItem(TypedDict):
    """One item on the page: an image, or several that belong together."""

    name: str
    #: One for each style, in their order; None where the run has not got so far.
    captions: list[StyleCaption | None]
    #: The digests of its image files, which are the same for the same pictures; none where all styles failed.
    files: list[str]
    images: list[str]
    #: Whether its images are to be shown.
    has_pictures: bool


def caption_items(chunks: Mapping[str, tuple[Sequence[str], AnswerSettings]]) -> Iterator[CaptionItem]:
    """The items of all styles, sorted by name; `chunks` are {style: (its chunk results, their settings)}.

    Raises:
        ResultError: a chunk result is incomplete or was made under other settings.
    """
    streams = [_lines_of(style, ChunkResults(paths, settings)) for style, (paths, settings) in chunks.items()]
    for name, found in groupby(heapq.merge(*streams, key=lambda pair: pair[1]["id"]), key=lambda pair: pair[1]["id"]):
        lines = dict(found)
        yield caption_item(name, [lines.get(style) for style in chunks])


def caption_item(name: str, lines: Sequence[ResultLine | None]) -> CaptionItem:
    """An item by its line of each style; None where a style has none yet."""
    there = [line for line in lines if line is not None]
    return {
        "name": name,
        "captions": [None if line is None else _caption(line) for line in lines],
        "files": next((line["files"] for line in there if line.get("files")), []),
        "images": [str(FileRef(name))],
        "has_pictures": not {line.get("failure") for line in there} & set(IMAGE_FAULTS),
    }


def listed_images(item_lists: Sequence[str], names: Container[str] | None = None) -> dict[str, list[str]]:
    """{item: its images} by the plan's item lists, of all items or of those with these names.

    Empty for a folder of images, whose names are the paths.
    """
    images: dict[str, list[str]] = {}
    for path in item_lists:
        for entry in read_json_lines(path):
            if "images" not in entry:
                return images
            if names is None or entry["id"] in names:
                images[entry["id"]] = entry["images"]
    return images


def caption_index(items: Sequence[CaptionItem], styles: Sequence[str]) -> dict[str, Any]:
    """What filters and links need of each item, as columns; the items may be read from a disk, once and in order."""
    names, failed, truncated, lengths = [], [], [], []
    files: list[int] = []
    for item in items:
        names.append(item["name"])
        failed.append(is_failed(item))
        truncated.append(is_truncated(item))
        lengths.append([0 if caption is None else len(caption.get("text", "")) for caption in item["captions"]])
        files.append(hash(tuple(item["files"])) if item["files"] else 0)
    seen = Counter(files)
    return {
        "styles": list(styles),
        "names": names,
        "failed": failed,
        "truncated": truncated,
        "duplicate": [bool(digest) and seen[digest] > 1 for digest in files],
        "lengths": lengths,
    }


class LengthCounts:
    """Counts captions by their length, which a sample of them would show wrongly where it has all failures."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, int]] = Counter()

    def add(self, item: CaptionItem) -> None:
        self._counts.update(
            (style, len(caption["text"]))
            for style, caption in enumerate(item["captions"])
            if caption is not None and "text" in caption
        )

    def bins(self, styles: int) -> dict[str, Any]:
        """{width: characters of a bin, counts: captions in each bin, by style}; the last bin has all longer ones."""
        longest = max((length for _, length in self._counts), default=0)
        width = next(width for width in BIN_WIDTHS if longest < width * MOST_BINS or width == BIN_WIDTHS[-1])
        counts = [[0] * min(MOST_BINS, longest // width + 1) for _ in range(styles)]
        for (style, length), captions in self._counts.items():
            counts[style][min(MOST_BINS - 1, length // width)] += captions
        return {"width": width, "counts": counts}


def is_failed(item: CaptionItem) -> bool:
    """Whether a style has no caption of the item."""
    return any("reason" in caption for caption in item["captions"] if caption is not None)


def is_truncated(item: CaptionItem) -> bool:
    """Whether a caption of the item ended at max_tokens."""
    return any(caption.get("truncated", False) for caption in item["captions"] if caption is not None)


def count_item(counts: Counter[str], item: CaptionItem) -> None:
    """Count an item, and whether it failed or was cut."""
    counts["all"] += 1
    counts["failed"] += is_failed(item)
    counts["truncated"] += is_truncated(item)


def kind_of(item: CaptionItem) -> Kind:
    """How a sample sees an item."""
    return "failed" if is_failed(item) else "other"


def page_order(item: CaptionItem) -> tuple[bool, str]:
    """Items without a caption come first."""
    return not is_failed(item), item["name"]


def alternative_text(item: CaptionItem) -> str | None:
    """The caption that describes the item's images; None where there is none."""
    return next((caption["text"] for caption in item["captions"] if caption is not None and "text" in caption), None)


def _lines_of(style: str, results: ChunkResults) -> Iterator[tuple[str, ResultLine]]:
    return ((style, line) for line in results.lines())


def _caption(line: ResultLine) -> StyleCaption:
    if "failure" in line:
        return {"reason": line["failure"], "detail": cut(line["detail"])}
    thinking, text = split_answer(line["answer"])
    caption: StyleCaption = {"truncated": line["answer"]["finish_reason"] == "length"}
    if text:
        caption["text"] = cut(text)
    else:
        caption |= {"reason": Reason.EMPTY_OUTPUT, "detail": "The answer ended within its reasoning."}
    if thinking:
        caption["thinking"] = cut(thinking)
    return caption
