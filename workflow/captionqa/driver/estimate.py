"""The estimate: how many requests and tokens a configuration still needs, and how long they take.

Tokens are counted from a sample: image tokens from the headers of images and the model's grid, text tokens by their
characters. Where the output folder has answers under the present settings, their own token counts are taken. The time
is that of the folder's last run, and without one a range by arithmetic (`captionqa.driver.gpu_time`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from statistics import mean, median
from typing import cast

from captionqa.client.journal import read_lines
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.prompts import question_text
from captionqa.config.settings import AnswerSettings, ImageSettings, answer_fingerprint, caption_prompt, image_budget_px
from captionqa.dataset.final_files import planned_files
from captionqa.dataset.image_encoding import grid_size
from captionqa.dataset.image_header import Header, bytes_header, read_header
from captionqa.dataset.image_ref import FileRef
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.plan import load_plan
from captionqa.driver.gpu_time import PEAK_FLOPS, Tokens, active_parameters, gpu_seconds
from captionqa.driver.status import FileStatus, read_status
from captionqa.driver.verdict import Verdict
from captionqa.errors import ItemFailure
from captionqa.files import read_json, read_json_lines
from captionqa.run.progress import duration

#: Items of each task whose images are looked at, and answers of each final file whose tokens are counted.
SAMPLE = 500
#: English text has about four characters a token.
CHARACTERS_PER_TOKEN = 4
#: Tokens of a chat template around one question.
TEMPLATE_TOKENS = 15
#: A last run with fewer requests tells no rate.
MIN_REQUESTS = 100
#: 1,280 tokens of 32 x 32 pixels: the most that the example in Qwen3-VL's README gives an image.
SMALLER_PX = 1280 * 32 * 32
MEGAPIXEL = 1_000_000
#: A range is not told more exactly.
MINUTE_S = 60
PILOT = "a pilot tells it better: run with captions.limit or qa.limit at 500, then estimate again without"


@dataclass(frozen=True)
class _Answers:
    """The tokens of answers that are there."""

    count: int
    prompt: float
    completion: float


@dataclass(frozen=True)
class _Sample:
    """What a sample of a task's items is like."""

    #: The pixels of each image as it is stored.
    stored_px: list[int]
    #: How many of the images are shrunk before they are sent.
    shrunk: int
    #: Tokens of an item, on average: of its images, of these with at most SMALLER_PX, and of its text.
    image_tokens: float
    smaller_tokens: float
    text_tokens: float


@dataclass(frozen=True)
class FileEstimate:
    """What one final file still needs."""

    status: FileStatus
    max_tokens: int
    sample: _Sample
    #: None where there are none under the present settings.
    answers: _Answers | None

    def tokens(self) -> Tokens:
        """Of all its requests; without answers so far each is taken to reach `max_tokens`."""
        requests, sample, answers = self.status.to_do, self.sample, self.answers
        prompt = answers.prompt if answers else sample.image_tokens + sample.text_tokens
        answer = answers.completion if answers else self.max_tokens
        return Tokens(requests * sample.image_tokens, requests * prompt, requests * answer)

    def lines(self) -> Iterator[str]:
        sample, answers = self.sample, self.answers
        yield f"{self.status.name}: {self.status.to_do:,} requests to send"
        if not self.status.to_do:
            return
        if sample.stored_px:
            yield (
                f"  images: {median(sample.stored_px) / MEGAPIXEL:.2f} megapixels (median), "
                f"{max(sample.stored_px) / MEGAPIXEL:.2f} at most; {sample.shrunk / len(sample.stored_px):.0%} are "
                f"shrunk before they are sent (of {len(sample.stored_px):,} looked at)"
            )
        if answers:
            yield (
                f"  tokens of a request: {answers.prompt:,.0f} of the prompt, {answers.completion:,.0f} of the answer "
                f"(mean of {answers.count:,} answers)"
            )
        else:
            yield (
                f"  tokens of a request: {sample.image_tokens:,.0f} of images, about {sample.text_tokens:,.0f} of "
                f"text, at most {self.max_tokens:,} of the answer"
            )


def estimate_text(config: Config, layout: Layout) -> str:
    """The estimate of the planned tasks for a person at the terminal; reads images' headers and answers so far."""
    estimates = [file for task in config.tasks for file in _estimates(config, layout, task)]
    lines = [line for estimate in estimates for line in estimate.lines()]
    requests = sum(estimate.status.to_do for estimate in estimates)
    if not requests:
        return "\n".join([*lines, "nothing is left to send"])
    parts = [estimate.tokens() for estimate in estimates]
    tokens = Tokens(*(sum(getattr(part, name) for part in parts) for name in ("image", "prompt", "answer")))
    at_most = "" if all(estimate.answers for estimate in estimates if estimate.status.to_do) else "at most "
    lines.append(
        f"together: {requests:,} requests, {_millions(tokens.prompt)} prompt tokens, "
        f"{at_most}{_millions(tokens.answer)} answer tokens"
    )
    lines += _smaller_images(estimates)
    return "\n".join([*lines, *_times(config, layout, requests, tokens)])


def _estimates(config: Config, layout: Layout, task: Task) -> Iterator[FileEstimate]:
    plan = load_plan(layout, task)
    items = chain.from_iterable(map(read_json_lines, plan.item_lists(layout, task)))
    sampled = cast(list[ItemEntry], list(islice(items, 0, None, max(1, plan.items // SAMPLE))))
    sources = ImageSources.of_task(config, task, fetch=False)
    statuses = {file.name: file for file in read_status(config, layout).files}
    for file in planned_files(config, layout):
        if file.task == task:
            is_of_run = file.context is not None and file.context.is_of_run
            caption_tokens = config.section("captions").max_tokens if is_of_run else 0
            settings = file.settings
            sample = _look_at(sampled, settings, sources, caption_tokens)
            yield FileEstimate(statuses[file.name], settings["max_tokens"], sample, _answers(file.files, settings))


def _look_at(items: list[ItemEntry], settings: AnswerSettings, sources: ImageSources, caption_tokens: int) -> _Sample:
    """What the sampled items take; `caption_tokens` are at most in a caption that stands for an image."""
    stored_px, shrunk = [], 0
    image_tokens, smaller_tokens, text_tokens = [0], [0], [0]
    for item in items:
        names = item.get("images", [str(FileRef(item["id"]))])
        # without image settings none is sent
        limits = settings.get("images")
        budget_px = None if limits is None else image_budget_px(settings, len(names))
        tokens = smaller = 0
        for name in () if limits is None else names:
            assert limits is not None
            try:
                header = _header(name, limits, sources)
            except ItemFailure:  # it takes no tokens
                continue
            size = header.width, header.height
            stored_px.append(size[0] * size[1])
            shrunk += budget_px is not None and stored_px[-1] > budget_px
            tokens += _image_tokens(size, limits["pixel_grid_px"], budget_px)
            smaller += _image_tokens(size, limits["pixel_grid_px"], min(SMALLER_PX, budget_px or SMALLER_PX))
        question = item.get("question")
        text = caption_prompt(settings, len(names)) if question is None else question
        if question is not None:
            text = question_text(question, settings.get("instruction"))
        image_tokens.append(tokens)
        smaller_tokens.append(smaller)
        captions = len(names) * caption_tokens
        text_tokens.append(TEMPLATE_TOKENS + len(text) // CHARACTERS_PER_TOKEN + captions)
    means = (mean(counts[1:] or counts) for counts in (image_tokens, smaller_tokens, text_tokens))
    return _Sample(stored_px, shrunk, *means)


def _header(name: str, limits: ImageSettings, sources: ImageSources) -> Header:
    source = sources.find(name)
    path = source.file()
    return bytes_header(source.read()[0], limits) if path is None else read_header(path, limits)


def _image_tokens(size: tuple[int, int], grid_px: int, budget_px: int | None) -> int:
    """Tokens of an image: one for each square of the grid, to which the server rounds its sides."""
    if budget_px is not None and size[0] * size[1] > budget_px:
        size = grid_size(*size, grid_px, budget_px)
    return max(1, round(size[0] / grid_px)) * max(1, round(size[1] / grid_px))


def _answers(files: AnswerFiles, settings: AnswerSettings) -> _Answers | None:
    now = answer_fingerprint(settings)
    lines = chain.from_iterable(map(read_lines, sorted(files.journal.glob("*.jsonl"))))
    own = (line["answer"] for line in lines if line["fingerprint"] == now and "answer" in line)
    tokens = [(answer["prompt_tokens"], answer["completion_tokens"]) for answer in islice(own, SAMPLE)]
    if not tokens:
        return None
    return _Answers(len(tokens), mean(prompt for prompt, _ in tokens), mean(answer for _, answer in tokens))


def _smaller_images(estimates: list[FileEstimate]) -> Iterator[str]:
    now = sum(estimate.status.to_do * estimate.sample.image_tokens for estimate in estimates)
    smaller = sum(estimate.status.to_do * estimate.sample.smaller_tokens for estimate in estimates)
    if smaller < now:
        yield (
            f"  client.images.max_pixels: {SMALLER_PX} would send {smaller / now:.0%} of the image tokens; small print "
            "may be lost"
        )


def _times(config: Config, layout: Layout, requests: int, tokens: Tokens) -> Iterator[str]:
    verdict: Verdict | None = read_json(layout.verdict)
    if verdict is not None and verdict["clients"]["asked"] >= MIN_REQUESTS:
        seconds = verdict["asking"]["seconds"] - verdict["asking"]["without_server_s"]
        rate = verdict["clients"]["asked"] / max(1.0, seconds)
        yield f"time: {duration(requests / rate)} at the {rate:.1f} requests/s of the last run in this folder"
        return
    parameters = active_parameters(config.model.path)
    if parameters is None:
        yield f"time: unknown, since the name {config.model.path} does not tell the model's size; {PILOT}"
        return
    yield f"time on one GPU, by arithmetic for {parameters / 1e9:.3g} billion parameters:"
    for name, peak_flops in PEAK_FLOPS.items():
        least, most = gpu_seconds(tokens, parameters, peak_flops)
        yield f"  {name}: {f'{duration(least)} to {duration(most)}' if most >= MINUTE_S else 'less than a minute'}"
    yield f"  {PILOT}"


def _millions(tokens: float) -> str:
    return f"{tokens / 1e6:,.1f} million" if tokens >= 1e5 else f"{tokens:,.0f}"
