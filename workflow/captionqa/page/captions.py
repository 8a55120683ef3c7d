"""Captions on the page: each image with its captions in all styles, or with why one is missing."""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NotRequired, TypedDict

from captionqa.client.chunk_result import ChunkResults, ResultLine
from captionqa.config.settings import AnswerSettings
from captionqa.dataset.image_ref import FileRef
from captionqa.files import read_json_lines
from captionqa.page.questions import IMAGE_FAULTS, cut
from captionqa.page.sample import Kind


class StyleCaption(TypedDict):
    """What one prompt style has for an image: a text, or a reason with its detail."""

    text: NotRequired[str]
    truncated: NotRequired[bool]
    reason: NotRequired[str]
    detail: NotRequired[str]


class CaptionItem(TypedDict):
    """One item on the page: an image, or several that belong together."""

    name: str
    #: {style: caption}.
    captions: dict[str, StyleCaption]
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
        reasons = {line.get("failure") for line in lines.values()}
        yield {
            "name": name,
            "captions": {style: _caption(line) for style, line in lines.items()},
            "files": next((line["files"] for line in lines.values() if line.get("files")), []),
            "images": [str(FileRef(name))],
            "has_pictures": not reasons & set(IMAGE_FAULTS),
        }


def add_images(items: Sequence[CaptionItem], item_lists: Sequence[str]) -> None:
    """Give the items their images by the plan's item lists: those of shards are not named by their images."""
    by_name = {item["name"]: item for item in items}
    for path in item_lists:
        for entry in read_json_lines(path):
            if "images" in entry and (item := by_name.get(entry["id"])):
                item["images"] = entry["images"]


def duplicates(items: Sequence[CaptionItem]) -> list[bool]:
    """Of each item, whether another one has the same pictures."""
    counts = Counter(tuple(item["files"]) for item in items)
    return [bool(item["files"]) and counts[tuple(item["files"])] > 1 for item in items]


def is_failed(item: CaptionItem) -> bool:
    """Whether a style has no caption of the item."""
    return any("reason" in caption for caption in item["captions"].values())


def is_truncated(item: CaptionItem) -> bool:
    """Whether a caption of the item ended at max_tokens."""
    return any(caption.get("truncated", False) for caption in item["captions"].values())


def kind_of(item: CaptionItem) -> Kind:
    """How a sample sees an item."""
    return "failed" if is_failed(item) else "other"


def page_order(item: CaptionItem) -> tuple[bool, str]:
    """Items without a caption come first."""
    return not is_failed(item), item["name"]


def _lines_of(style: str, results: ChunkResults) -> Iterator[tuple[str, ResultLine]]:
    return ((style, line) for line in results.lines())


def _caption(line: ResultLine) -> StyleCaption:
    if "answer" in line:
        return {"text": cut(line["answer"]["text"]), "truncated": line["answer"]["finish_reason"] == "length"}
    return {"reason": line["failure"], "detail": cut(line["detail"])}
