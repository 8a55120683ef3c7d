"""The estimate: how many requests and tokens a configuration still needs, and how long they take.

Tokens are counted from a sample: image tokens from the headers of images and the model's grid, text tokens by their
characters. Where the output folder has answers under the present settings, their own token counts are taken. The time
is that of the run that goes on in the folder, or of its last one; else by rates that this user's runs measured with the
model (`captionqa.driver.measured_rates`), and without any a range by arithmetic (`captionqa.driver.gpu_time`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from statistics import mean, median

from captionqa.client.journal import read_lines
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.pixel_presets import MEGAPIXEL, PIXEL_PRESETS
from captionqa.config.settings import AnswerSettings, answer_fingerprint
from captionqa.dataset.final_files import final_files, planned_files
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.plan import load_plan
from captionqa.driver.gpu_time import PEAK_FLOPS, Tokens, active_parameters, gpu_seconds
from captionqa.driver.item_sample import CHARACTERS_PER_TOKEN, ItemSample, look_at, sampled_items
from captionqa.driver.measured_rates import MIN_REQUESTS, model_key, rates_file, read_rates
from captionqa.driver.pixel_savings import SentItems, savings_text
from captionqa.driver.run_view import read_view
from captionqa.driver.status import MAX_ROWS, FileStatus, read_status
from captionqa.driver.verdict import Verdict
from captionqa.files import read_json
from captionqa.run.lease import live_lease
from captionqa.run.progress import answered_items, duration

#: Items of each task whose images are looked at, and answers of each final file whose tokens are counted.
SAMPLE = 500
#: The rate of a run that goes on is taken once it has asked for this long.
OWN_RATE_AFTER_S = 600.0
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
class FileEstimate:
    """What one final file still needs."""

    status: FileStatus
    model: str
    max_tokens: int
    sample: ItemSample
    #: None where there are none under the present settings.
    answers: _Answers | None
    #: Whether `status` has the most requests that a judge may get.
    most: bool = False

    def tokens(self) -> Tokens:
        """Of all its requests; without answers so far each is taken to reach `max_tokens`."""
        requests, sample, answers = self.status.to_do, self.sample, self.answers
        prompt = answers.prompt if answers else sample.image_tokens + sample.text_tokens
        answer = answers.completion if answers else self.max_tokens
        return Tokens(requests * sample.image_tokens, requests * prompt, requests * answer)

    def lines(self) -> Iterator[str]:
        sample, answers = self.sample, self.answers
        yield f"{self.status.name}: {'at most ' * self.most}{self.status.to_do:,} requests to send"
        if not self.status.to_do:
            return
        if sample.stored_px:
            yield (
                f"  images: {median(sample.stored_px) / MEGAPIXEL:.2f} megapixels (median), "
                f"{max(sample.stored_px) / MEGAPIXEL:.2f} at most; {sample.shrunk / len(sample.stored_px):.0%} are "
                f"shrunk before they are sent (of {len(sample.stored_px):,} looked at)"
            )
        if sample.unseen and not answers:
            yield (
                f"  {sample.unseen:,} of {sample.unseen + len(sample.stored_px):,} images that were looked for are at "
                "addresses, missing or damaged: they count no tokens here"
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
    parts = [
        (each, of_model)
        for each, of_data in config.by_data_set(layout)
        for of_model in of_data.of_models(config.model_names)
    ]
    statuses = {file.name: file for file in read_status(config, layout).files}
    estimates = [
        file for each, of_model in parts for task in each.tasks for file in _estimates(each, of_model, task, statuses)
    ]
    estimates += [file for each, of_model in parts for file in _judge_estimates(each, of_model, statuses)]
    many = bool(config.named) and len(estimates) > MAX_ROWS
    lines = [*_group_lines(estimates)] if many else [line for estimate in estimates for line in estimate.lines()]
    requests = sum(estimate.status.to_do for estimate in estimates)
    if not requests:
        return "\n".join([*lines, "nothing is left to send"])
    lines.append(f"together: {_requests_and_tokens(estimates)}")
    lines += _smaller_images(estimates)
    return "\n".join([*lines, *_times(config, layout, requests, estimates)])


def _group_lines(estimates: Sequence[FileEstimate]) -> Iterator[str]:
    """A line for all files of a data set, model and task."""
    for group, members in groupby(estimates, key=lambda estimate: estimate.status.group):
        yield f"{group}: {_requests_and_tokens(list(members))}"


def _requests_and_tokens(estimates: Sequence[FileEstimate]) -> str:
    requests = sum(estimate.status.to_do for estimate in estimates)
    tokens = _sum([estimate.tokens() for estimate in estimates])
    at_most = "" if all(estimate.answers for estimate in estimates if estimate.status.to_do) else "at most "
    most = "at most " if any(estimate.most and estimate.status.to_do for estimate in estimates) else ""
    return (
        f"{most}{requests:,} requests, {_millions(tokens.prompt)} prompt tokens, "
        f"{at_most}{_millions(tokens.answer)} answer tokens"
    )


def _estimates(
    config: Config, layout: Layout, task: Task, statuses: Mapping[str, FileStatus]
) -> Iterator[FileEstimate]:
    plan = load_plan(layout, task)
    sampled = list(sampled_items(plan, layout, task, SAMPLE))
    sources = ImageSources.of_task(config, task, fetch=False)
    for file in planned_files(config, layout):
        if file.task == task:
            is_of_run = file.context is not None and file.context.is_of_run
            caption_tokens = config.section("captions").max_tokens if is_of_run else 0
            settings = file.settings
            sample = look_at(sampled, settings, sources, caption_tokens)
            status, answers = statuses[config.title(file.name, layout.model)], _answers(file.files, settings)
            yield FileEstimate(status, layout.model, settings["max_tokens"], sample, answers)


def _judge_estimates(config: Config, layout: Layout, statuses: Mapping[str, FileStatus]) -> Iterator[FileEstimate]:
    """What the layout's model has to judge, if it is the judge: each question with an answer as long as may be."""
    for file in final_files(config, layout, "judge"):
        sampled = list(sampled_items(file.plan(layout), layout, "qa", SAMPLE))
        sample = look_at(sampled, file.settings, ImageSources.of_task(config, "qa", fetch=False))
        around = len(file.settings["judge_prompt"]) // CHARACTERS_PER_TOKEN + config.section("qa").max_tokens
        sample = replace(sample, text_tokens=sample.text_tokens + around)
        status, answers = statuses[config.title(file.name, layout.model)], _answers(file.files, file.settings)
        most = file.judged is not None and bool(file.judged.unknown_chunks())
        yield FileEstimate(status, layout.model, file.settings["max_tokens"], sample, answers, most)


def _answers(files: AnswerFiles, settings: AnswerSettings) -> _Answers | None:
    now = answer_fingerprint(settings)
    lines = chain.from_iterable(map(read_lines, sorted(files.journal.glob("*.jsonl"))))
    own = (line["answer"] for line in lines if line["fingerprint"] == now and "answer" in line)
    tokens = [(answer["prompt_tokens"], answer["completion_tokens"]) for answer in islice(own, SAMPLE)]
    if not tokens:
        return None
    return _Answers(len(tokens), mean(prompt for prompt, _ in tokens), mean(answer for _, answer in tokens))


def _smaller_images(estimates: list[FileEstimate]) -> Iterator[str]:
    sent = [SentItems(estimate.status.to_do, estimate.sample) for estimate in estimates]
    yield from (f"  {text}" for name in PIXEL_PRESETS if (text := savings_text(sent, name)))


def _times(config: Config, layout: Layout, requests: int, estimates: Sequence[FileEstimate]) -> Iterator[str]:
    if own := _own_rate(layout):
        yield f"time: {duration(requests / own)} at the {own:.1f} requests/s of the run that works on this folder now"
        return
    verdict: Verdict | None = read_json(layout.verdict)
    clients = {} if verdict is None else verdict["clients"]
    answered = clients.get("answered", clients.get("asked", 0))  # in the files of earlier versions
    if verdict is not None and answered >= MIN_REQUESTS:
        seconds = verdict["asking"]["seconds"] - verdict["asking"]["without_server_s"]
        rate = answered / max(1.0, seconds)
        yield f"time: {duration(requests / rate)} at the {rate:.1f} requests/s of the last run in this folder"
        return
    tokens_of = {
        model: _sum([each.tokens() for each in estimates if each.model == model and each.status.to_do])
        for model in dict.fromkeys(each.model for each in estimates if each.status.to_do)
    }
    if list(tokens_of) == [config.model_name] and (measured := read_rates(model_key(config))):
        tokens = tokens_of[config.model_name]
        yield "time, by rates that your own runs measured with this model:"
        for kept in measured:
            seconds = (tokens.prompt + tokens.answer) / (kept.tokens_per_s * config.model.server.replicas)
            yield (
                f"  {kept.hardware}: {duration(seconds)} at {kept.tokens_per_s:,.0f} tokens/s for each server "
                f"({kept.requests:,} requests on {kept.day}, vLLM {kept.vllm})"
            )
        yield f"  they are kept in {rates_file()}; delete it to forget them. {PILOT[0].upper()}{PILOT[1:]}"
        return
    to_do: list[tuple[Tokens, float]] = []
    for model, tokens in tokens_of.items():
        path = config.models[model].path
        if (parameters := active_parameters(path)) is None:
            yield f"time: unknown, since the name {path} does not tell the model's size; {PILOT}"
            return
        to_do.append((tokens, parameters))
    sizes = " and ".join(f"{parameters / 1e9:.3g}" for _, parameters in to_do)
    yield f"time on one GPU, by arithmetic for {sizes} billion parameters:"
    for name, peak_flops in PEAK_FLOPS.items():
        ranges = [gpu_seconds(tokens, parameters, peak_flops) for tokens, parameters in to_do]
        least, most = (sum(bounds) for bounds in zip(*ranges, strict=True))
        yield f"  {name}: {f'{duration(least)} to {duration(most)}' if most >= MINUTE_S else 'less than a minute'}"
    yield f"  {PILOT}"


def _own_rate(layout: Layout) -> float | None:
    """Requests per second of a run that goes on; None where there is none, or it is too young to tell."""
    if live_lease(layout.server) is None:
        return None
    tasks = [task for task in read_view(layout).tasks if task.seconds]
    answered = sum(answered_items(task.counts) for task in tasks)
    seconds = max((task.seconds for task in tasks), default=0.0)
    return answered / seconds if seconds >= OWN_RATE_AFTER_S and answered >= MIN_REQUESTS else None


def _sum(parts: Sequence[Tokens]) -> Tokens:
    return Tokens(*(sum(getattr(part, name) for part in parts) for name in ("image", "prompt", "answer")))


def _millions(tokens: float) -> str:
    return f"{tokens / 1e6:,.1f} million" if tokens >= 1e6 else f"{tokens:,.0f}"
