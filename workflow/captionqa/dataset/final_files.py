"""The final files of a task: one per sample of a prompt style, or context, with its work folder and its settings."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from captionqa.config.answer_files import AnswerFiles
from captionqa.config.config import Config, Task
from captionqa.config.contexts import Context
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings, caption_settings, fingerprint, qa_settings
from captionqa.dataset.caption_links import CaptionLinks
from captionqa.dataset.plan import load_plan, planned_tasks


@dataclass(frozen=True)
class FinalFile:
    """One final file: what decides its answers, and where they and it are."""

    #: As a person reads it: `captions STYLE`, `qa`, `qa none`.
    name: str
    task: Task
    settings: AnswerSettings
    #: Its journals and chunk results.
    files: AnswerFiles
    path: str
    provenance: str
    failures: str
    #: Of questions: the context in which they are asked.
    context: Context | None = None

    def results(self, config: Config, layout: Layout) -> list[str]:
        """The paths of the chunks' results, by the plans as they are saved."""
        links = None if self.context is None else CaptionLinks.of(config, layout, self.context)
        plan = load_plan(layout, self.task)
        return plan.results(self.files.folder, fingerprint(self.settings), None if links is None else links.digests)


def final_files(config: Config, layout: Layout, task: Task) -> Iterator[FinalFile]:
    """The final files that the layout's model has of a configured task."""
    if task == "captions":
        for captions in config.caption_sets if task in config.tasks_of(layout.model) else ():
            yield FinalFile(
                f"captions {captions.title}",
                task,
                caption_settings(config, layout.model, captions.style, captions.sample),
                AnswerFiles(layout.captions_work(captions.key)),
                layout.captions(captions.key),
                layout.captions(captions.key, "_provenance"),
                layout.captions(captions.key, "_failures"),
            )
        return
    for context in config.contexts_of(layout.model):
        suffix = context.suffix
        yield FinalFile(
            context.title,
            task,
            qa_settings(config, layout.model, context),
            AnswerFiles(layout.qa_work(suffix)),
            layout.qa("results", suffix),
            layout.qa("provenance", suffix),
            layout.qa("failures", suffix),
            context,
        )


def planned_files(config: Config, layout: Layout) -> Iterator[FinalFile]:
    """The final files of the layout's model whose items are planned: those of the tasks that have a plan.

    Questions with captions of this run need the plans of both tasks.
    """
    planned = planned_tasks(config, layout)
    for task in planned:
        for file in final_files(config, layout, task):
            if file.context is None or not file.context.is_of_run or "captions" in planned:
                yield file


def planned_items(config: Config, layout: Layout) -> int:
    """How many items all final files of all models and data sets have, over the configured tasks that have a plan."""
    return sum(
        load_plan(of_model, file.task).items
        for each, of_data in config.by_data_set(layout)
        for of_model in of_data.of_models(config.model_names)
        for file in planned_files(each, of_model)
    )


def items_to_do(config: Config, layout: Layout) -> dict[Task, int]:
    """How many items are in chunks without a result, of all final files of models and data sets, by planned task."""
    counts: Counter[Task] = Counter()
    for each, of_data in config.by_data_set(layout):
        for of_model in of_data.of_models(config.model_names):
            counts.update(model_items_to_do(each, of_model))
    return {task: counts[task] for task in config.tasks if task in counts}


def model_items_to_do(config: Config, layout: Layout) -> dict[Task, int]:
    """As `items_to_do`, of the layout's model and data set alone."""
    counts: dict[Task, int] = dict.fromkeys(planned_tasks(config, layout), 0)
    for file in planned_files(config, layout):
        counts[file.task] += load_plan(layout, file.task).pending_items(file.results(config, layout))
    return counts
