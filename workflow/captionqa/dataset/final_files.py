"""The final files of a task: one per sample of a prompt style, or context, with its work folder and its settings."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from captionqa.config.answer_files import AnswerFiles
from captionqa.config.config import Config, Task
from captionqa.config.contexts import Context
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings, caption_settings, fingerprint, judge_settings, qa_settings
from captionqa.dataset.caption_links import CaptionLinks
from captionqa.dataset.judged_answers import JudgedAnswers
from captionqa.dataset.plan import Plan, load_plan, planned_tasks


@dataclass(frozen=True)
class FinalFile:
    """One final file: what decides its answers, and where they and it are."""

    #: As a person reads it: `captions STYLE`, `qa`, `qa none`, `judge qa of MODEL`.
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
    #: Of a judge: the answers that it grades.
    judged: JudgedAnswers | None = None

    def plan(self, layout: Layout) -> Plan:
        """The plan of its chunks: answers are judged by the chunks in which they were asked."""
        return load_plan(layout, "captions" if self.task == "captions" else "qa")

    def results(self, config: Config, layout: Layout) -> list[str]:
        """The paths of the chunks' results, by the plans as they are saved."""
        if self.judged is not None:
            return self.judged.results(fingerprint(self.settings))
        links = None if self.context is None else CaptionLinks.of(config, layout, self.context)
        digests = None if links is None else links.digests
        return self.plan(layout).results(self.files.folder, fingerprint(self.settings), digests)

    def item_lists(self, layout: Layout) -> list[str]:
        """The paths of the chunks' item lists; those of a judge may not be there yet."""
        if self.judged is not None:
            return [f"{self.judged.lists}/{name}" for name in self.judged.list_names()]
        return self.plan(layout).item_lists(layout, self.task)

    def pending_items(self, config: Config, layout: Layout) -> int:
        """How many items are in chunks without a result; of a judge all questions of one, until it is graded."""
        known = None if self.judged is None else self.judged.most_items()
        return self.plan(layout).pending_items(self.results(config, layout), known)


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
    if task == "judge":
        yield from _judged_files(config, layout)
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


def _judged_files(config: Config, layout: Layout) -> Iterator[FinalFile]:
    """The final files of the layout's model as the judge: one for each model that answers and each of its contexts."""
    if config.judge is None or config.judge.model != layout.model:
        return
    for model, context in config.answers:
        answers = JudgedAnswers(config, layout, model, context)
        yield FinalFile(
            answers.title,
            "judge",
            judge_settings(config),
            AnswerFiles(answers.work),
            answers.path("judged"),
            answers.path("judge_provenance"),
            answers.path("judge_failures"),
            judged=answers,
        )


def planned_files(config: Config, layout: Layout) -> Iterator[FinalFile]:
    """The final files of the layout's model whose items are planned, without those of a judge.

    They are those of the tasks that have a plan. Questions with captions of this run need the plans of both tasks.
    """
    planned = planned_tasks(config, layout)
    for task in planned:
        for file in final_files(config, layout, task):
            if _is_planned(file.context, planned):
                yield file


def asked_files(config: Config, layout: Layout) -> Iterator[FinalFile]:
    """As `planned_files`, with those of the judge."""
    yield from planned_files(config, layout)
    planned = planned_tasks(config, layout)
    for file in final_files(config, layout, "judge") if "qa" in planned else ():
        if file.judged is not None and _is_planned(file.judged.context, planned):
            yield file


def _is_planned(context: Context | None, planned: list[Task]) -> bool:
    return context is None or not context.is_of_run or "captions" in planned


def planned_items(config: Config, layout: Layout) -> int:
    """How many items all final files of all models and data sets have, over the configured tasks that have a plan.

    What a judge gets is not counted: it is known only once the answers are graded.
    """
    return sum(
        load_plan(of_model, file.task).items
        for each, of_data in config.by_data_set(layout)
        for of_model in of_data.of_models(config.model_names)
        for file in planned_files(each, of_model)
    )


def items_to_do(config: Config, layout: Layout) -> dict[Task, int]:
    """How many items are in chunks without a result, of all final files of models and data sets, by planned task.

    Of the judge, if there is one, they are the most that it may get.
    """
    counts: Counter[Task] = Counter()
    for each, of_data in config.by_data_set(layout):
        for of_model in of_data.of_models(config.model_names):
            counts.update(model_items_to_do(each, of_model))
    tasks: list[Task] = [*config.tasks, "judge"]
    return {task: counts[task] for task in tasks if task in counts}


def model_items_to_do(config: Config, layout: Layout) -> dict[Task, int]:
    """As `items_to_do`, of the layout's model and data set alone."""
    planned = planned_tasks(config, layout)
    judged: list[Task] = ["judge"] if config.judge is not None and "qa" in planned else []
    counts: dict[Task, int] = dict.fromkeys([*planned, *judged], 0)
    for file in asked_files(config, layout):
        counts[file.task] += file.pending_items(config, layout)
    return counts
