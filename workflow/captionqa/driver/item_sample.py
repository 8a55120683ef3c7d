"""A sample of a task's items: how large their images are, and how many tokens they take, by headers alone."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import mean
from typing import cast

from captionqa.config.config import Task
from captionqa.config.layout import Layout
from captionqa.config.pixel_presets import PIXEL_PRESETS
from captionqa.config.prompts import question_text
from captionqa.config.settings import AnswerSettings, ImageSettings, caption_prompt, image_budget_px
from captionqa.dataset.image_encoding import grid_size
from captionqa.dataset.image_header import Header, bytes_header, read_header
from captionqa.dataset.image_ref import FileRef
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.plan import Plan
from captionqa.errors import ItemFailure
from captionqa.files import read_json_lines

#: English text has about four characters a token.
CHARACTERS_PER_TOKEN = 4
#: Tokens of a chat template around one question.
TEMPLATE_TOKENS = 15
#: Item lists from which a sample is taken.
MOST_LISTS = 50


@dataclass(frozen=True)
class ItemSample:
    """What some items of a task are like under the settings of one final file."""

    #: The pixels of each image as it is stored.
    stored_px: Sequence[int]
    #: The items that were looked at.
    items: int
    #: How many of the images are shrunk before they are sent.
    shrunk: int
    #: How many images have no header here: at addresses, missing or damaged. They count no tokens.
    unseen: int
    #: Tokens of an item, on average: of its images and of its text.
    image_tokens: float
    text_tokens: float
    #: {preset: tokens of an item's images with it, on average}.
    preset_tokens: dict[str, float]


def sampled_items(plan: Plan, layout: Layout, task: Task, size: int) -> Iterator[ItemEntry]:
    """About `size` items of a task, or all if it has no more; lists are in the order of a hash, so any part will do."""
    lists = plan.item_lists(layout, task)
    if plan.items > size:
        lists = lists[:: -(-len(lists) // MOST_LISTS)]
        each = -(-size // len(lists))
        return (cast(ItemEntry, item) for path in lists for item in islice(read_json_lines(path), each))
    return (cast(ItemEntry, item) for path in lists for item in read_json_lines(path))


def look_at(
    items: Iterable[ItemEntry], settings: AnswerSettings, sources: ImageSources, caption_tokens: int = 0
) -> ItemSample:
    """What the items take; `caption_tokens` are at most in a caption that stands for an image."""
    stored_px: list[int] = []
    shrunk = unseen = 0
    image_tokens, text_tokens = [], []
    preset_tokens: dict[str, list[int]] = {name: [] for name in PIXEL_PRESETS}
    for item in items:
        names = item.get("images", [str(FileRef(item["id"]))])
        # without image settings none is sent
        limits = settings.get("images")
        budget_px = None if limits is None else image_budget_px(settings, len(names))
        sizes = [] if limits is None else list(_sizes(names, limits, sources))
        unseen += 0 if limits is None else len(names) - len(sizes)
        stored_px += (width * height for width, height in sizes)
        shrunk += sum(budget_px is not None and width * height > budget_px for width, height in sizes)
        grid_px = 1 if limits is None else limits["pixel_grid_px"]
        image_tokens.append(sum(image_token_count(size, grid_px, budget_px) for size in sizes))
        for name, preset in PIXEL_PRESETS.items():
            within_px = min(preset.px, budget_px or preset.px)
            preset_tokens[name].append(sum(image_token_count(size, grid_px, within_px) for size in sizes))
        text_tokens.append(_text_tokens(item, len(names), settings) + len(names) * caption_tokens)
    return ItemSample(
        stored_px,
        len(image_tokens),
        shrunk,
        unseen,
        mean(image_tokens or [0]),
        mean(text_tokens or [0]),
        {name: mean(tokens or [0]) for name, tokens in preset_tokens.items()},
    )


def image_token_count(size: tuple[int, int], grid_px: int, budget_px: int | None) -> int:
    """Tokens of an image: one for each square of the grid, to which the server rounds its sides."""
    if budget_px is not None and size[0] * size[1] > budget_px:
        size = grid_size(*size, grid_px, budget_px)
    return max(1, round(size[0] / grid_px)) * max(1, round(size[1] / grid_px))


def _sizes(names: Iterable[str], limits: ImageSettings, sources: ImageSources) -> Iterator[tuple[int, int]]:
    """Width and height of the images; of one that cannot be read none, since it takes no tokens."""
    for name in names:
        try:
            header = _header(name, limits, sources)
        except ItemFailure:
            continue
        yield header.width, header.height


def _header(name: str, limits: ImageSettings, sources: ImageSources) -> Header:
    source = sources.find(name)
    path = source.file()
    return bytes_header(source.read()[0], limits) if path is None else read_header(path, limits)


def _text_tokens(item: ItemEntry, images: int, settings: AnswerSettings) -> int:
    question = item.get("question")
    text = caption_prompt(settings, images) if question is None else question
    if question is not None:
        text = question_text(question, settings.get("instruction"))
    return TEMPLATE_TOKENS + len(text) // CHARACTERS_PER_TOKEN
