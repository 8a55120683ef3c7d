"""What a pixel preset would save: for the dry run, the estimate and `captionqa data`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import mean
from time import monotonic

from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.pixel_presets import MEGAPIXEL, PIXEL_PRESETS
from captionqa.dataset.final_files import planned_files
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.plan import load_plan
from captionqa.driver.item_sample import ItemSample, look_at, sampled_items

#: A preset that saves less of the image tokens is not worth a word.
WORTHWHILE = 0.05
#: Items of a task that a dry run looks at, and for how long: images in a container are read as a whole for their size.
DRY_RUN_SAMPLE = 500
DRY_RUN_S = 5.0
#: The preset that a dry run names.
NAMED = next(iter(PIXEL_PRESETS))


@dataclass(frozen=True)
class SentItems:
    """Requests of one kind, by a sample of them."""

    requests: int
    sample: ItemSample

    @property
    def images(self) -> float:
        return self.requests * len(self.sample.stored_px) / max(1, self.sample.items)

    def above(self, px: int) -> float:
        """How many of the images have more pixels than this."""
        return self.requests * sum(stored > px for stored in self.sample.stored_px) / max(1, self.sample.items)


def savings_text(sent: Sequence[SentItems], name: str) -> str | None:
    """What a preset would save of all requests; None where that is too little to mention.

    Such as `412 of 1,000 images to send are above 1.3 megapixels; client.images.max_pixels: qwen_readme would save 2.1
    of 3.4 million image tokens`.
    """
    now = sum(part.requests * part.sample.image_tokens for part in sent)
    saved = now - sum(part.requests * part.sample.preset_tokens[name] for part in sent)
    if not now or saved < WORTHWHILE * now:
        return None
    px = PIXEL_PRESETS[name].px
    about = "" if all(part.requests == part.sample.items for part in sent) else "about "
    return (
        f"{about}{sum(part.above(px) for part in sent):,.0f} of {sum(part.images for part in sent):,.0f} images to "
        f"send are above {px / MEGAPIXEL:.1f} megapixels; client.images.max_pixels: {name} would save "
        f"{_of_tokens(saved, now)} image tokens"
    )


def dry_run_savings(config: Config, layout: Layout, requests: Mapping[Task, int]) -> str | None:
    """What the smallest preset would save of these requests of each task; a look at some headers."""
    asked = {task: count for task, count in requests.items() if count and task != "judge"}  # which sees no image
    sent = [part for task, count in asked.items() for part in _sent(config, layout, task, count)]
    return savings_text(sent, NAMED)


def sizes_text(stored_px: Sequence[int], of: int) -> str:
    """The sizes of images that nobody configured yet; `of` is how many there are."""
    above = [
        f"{sum(px > preset.px for px in stored_px):,} above {preset.px / MEGAPIXEL:.1f} ({name})"
        for name, preset in PIXEL_PRESETS.items()
    ]
    looked = "" if len(stored_px) == of else f" (of {len(stored_px):,} looked at)"
    return (
        f"megapixels: {mean(stored_px) / MEGAPIXEL:.2f} on average, {max(stored_px) / MEGAPIXEL:.2f} at most; "
        f"{', '.join(above)}{looked}; in brackets the client.images.max_pixels that shrinks them"
    )


def _sent(config: Config, layout: Layout, task: Task, requests: int) -> Iterator[SentItems]:
    """The requests of a task in equal parts for its final files."""
    files = [file for file in planned_files(config, layout) if file.task == task]
    items = list(sampled_items(load_plan(layout, task), layout, task, DRY_RUN_SAMPLE))
    sources = ImageSources.of_task(config, task, fetch=False)
    until = monotonic() + DRY_RUN_S
    #: By what decides the size of an image: prompt styles look at the same images.
    samples: dict[str, ItemSample] = {}
    for number, file in enumerate(files):
        settings = file.settings
        key = repr([settings.get("images"), settings.get("max_model_len"), settings["max_tokens"]])
        if key not in samples:
            samples[key] = look_at(takewhile(lambda _: monotonic() < until, items), settings, sources)
        yield SentItems(requests // len(files) + (number < requests % len(files)), samples[key])


def _of_tokens(saved: float, now: float) -> str:
    if now >= 1e5:
        return f"{saved / 1e6:,.1f} of {now / 1e6:,.1f} million"
    return f"{saved:,.0f} of {now:,.0f}"
