"""The checked configuration: one dataclass for each section, with the fields of config/config.yaml.

What each key means, its unit and why are in config/config.yaml; its default and its limits in the schema. Here are the
types, and what follows from several keys together.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, overload

from captionqa.config.caption_sets import CaptionSet, caption_sets
from captionqa.config.captions_config import CaptionsConfig
from captionqa.config.client_config import ClientConfig
from captionqa.config.contexts import (
    Context,
    question_contexts,
    with_pictures,
    without_pictures,
)
from captionqa.config.export_config import ExportConfig
from captionqa.config.hub_record import data_paths, is_hub_path, read_hub_record
from captionqa.config.judge_config import JudgeConfig
from captionqa.config.model_config import ModelConfig
from captionqa.config.model_versions import planned_key
from captionqa.config.qa_config import QaConfig

#: What models are asked: the two tasks of a run, and the judging of answers.
Task = Literal["captions", "qa", "judge"]
#: The two tasks of a run; a configuration may leave one out.
TASKS: tuple[Task, ...] = ("captions", "qa")
#: Whether the servers of several models run one after the other, or all at once.
Servers = Literal["one_at_a_time", "side_by_side"]


@dataclass(frozen=True)
class AuditConfig:
    """`audit`: the findings that stop a run before its server starts."""

    stop_on: Sequence[str]


@dataclass(frozen=True)
class ReportConfig:
    """`report`: what shows the results."""

    #: Whether a run makes the page.
    page: bool


@dataclass(frozen=True)
class Config:
    """The whole configuration of a run."""

    output_dir: str
    #: By name, as in output folders.
    models: Mapping[str, ModelConfig]
    servers: Servers
    captions: CaptionsConfig | None
    qa: QaConfig | None
    export: ExportConfig
    audit: AuditConfig
    report: ReportConfig
    client: ClientConfig

    @classmethod
    def of(cls, checked: Mapping[str, Any]) -> Self:
        """The configuration of a mapping that `check` has checked and completed, as Snakemake hands it to jobs.

        The version of its model is the one that the last run was planned with.
        """
        captions, qa = checked.get("captions"), checked.get("qa")
        hub = read_hub_record(checked["output_dir"]) if any(map(is_hub_path, data_paths(captions, qa))) else {}
        questions = None if qa is None else QaConfig.of(qa, hub)
        return cls(
            output_dir=checked["output_dir"],
            models={
                name: ModelConfig.of(model, planned_key(checked["output_dir"], name, model))
                for name, model in checked["models"].items()
            },
            servers=checked["servers"],
            captions=None if captions is None else CaptionsConfig.of(captions, hub, questions),
            qa=questions,
            export=ExportConfig(**checked["export"]),
            audit=AuditConfig(**checked["audit"]),
            report=ReportConfig(**checked["report"]),
            client=ClientConfig.of(checked["client"]),
        )

    @property
    def reader(self) -> str | None:
        """The model that answers from the captions of the others, if there is one."""
        return None if self.qa is None else self.qa.reader

    @property
    def judge(self) -> JudgeConfig | None:
        """The model that grades answers which the rules cannot read, and how; None for none."""
        return None if self.qa is None else self.qa.judge

    @property
    def judge_alone(self) -> str | None:
        """The judge, where it neither captions nor answers: unless it may judge itself under its own name."""
        judge = self.judge
        if judge is None or judge.model == self.reader:
            return None
        others = [name for name in self.models if name != judge.model]
        under_other_name = any(self.is_same_model(name, judge.model) for name in others)
        return judge.model if others and (under_other_name or not judge.allow_self) else None

    def is_same_model(self, one: str, other: str) -> bool:
        """Whether two names are of one model: the same name, hub id or folder."""
        return one == other or os.path.realpath(self.models[one].path) == os.path.realpath(self.models[other].path)

    @property
    def captioners(self) -> list[str]:
        """The names of all models but the reader and a judge that does nothing else; one that judges too is last."""
        names = [name for name in self.models if name not in (self.reader, self.judge_alone)]
        return sorted(names, key=lambda name: self.judge is not None and name == self.judge.model)

    @property
    def model_names(self) -> list[str]:
        """The names of all models, in the order in which they are asked: the reader after the others, a judge last."""
        return [*self.captioners, *filter(None, [self.reader, self.judge_alone])]

    @property
    def model_name(self) -> str:
        """The name of the first model, whose work folder holds the files of the run."""
        return self.captioners[0]

    @property
    def model(self) -> ModelConfig:
        """The first model."""
        return self.models[self.model_name]

    def tasks_of(self, model: str) -> list[Task]:
        """The tasks of one model, captions first."""
        does = {"captions": model in self.captioners, "qa": bool(self.contexts_of(model))}
        return [task for task in self.tasks if does[task]]

    def server_tasks(self, model: str) -> list[Task]:
        """What a model's server is needed for: its tasks, and then the judging, if it is the judge."""
        judges = self.judge is not None and self.judge.model == model
        return [*self.tasks_of(model), *(["judge"] if judges else [])]

    @property
    def tasks(self) -> list[Task]:
        """The tasks that the configuration asks for, captions first."""
        return [task for task in TASKS if getattr(self, task) is not None]

    @property
    def tasks_as_planned(self) -> list[Task]:
        """The tasks in the order in which they are planned."""
        return self.tasks[::-1] if self.captions is not None and self.captions.of_questions else self.tasks

    @property
    def prompt_styles(self) -> Sequence[str]:
        """The configured prompt styles; none where captions are left out."""
        return () if self.captions is None else self.captions.prompt_styles

    @property
    def caption_sets(self) -> list[CaptionSet]:
        """The final files of captions; none where captions are left out."""
        return [] if self.captions is None else caption_sets(self.captions.prompt_styles, self.captions.samples)

    def caption_set(self, key: str) -> CaptionSet:
        """The captions whose files have this key."""
        return next(one for one in self.caption_sets if one.key == key)

    @property
    def contexts(self) -> list[Context]:
        """The contexts in which the first model is asked the questions; none where there are no questions."""
        return self.contexts_of(self.model_name)

    def contexts_of(self, model: str) -> list[Context]:
        """The contexts in which a model is asked the questions.

        A reader is asked with captions, and with nothing where that is configured; the other models then with pictures,
        and with nothing beside these.
        """
        if self.qa is None or model == self.judge_alone:
            return []
        contexts = question_contexts(self.qa.contexts, self.prompt_styles, self.qa.caption_files)
        if self.reader is None:
            return contexts
        return without_pictures(contexts, self.captioners) if model == self.reader else with_pictures(contexts)

    @property
    def answers(self) -> list[tuple[str, Context]]:
        """(model, context) of all final files of questions, in the order of the models."""
        return [(model, context) for model in self.model_names for context in self.contexts_of(model)]

    def context(self, suffix: str) -> Context:
        """The context whose files have this suffix."""
        return next(context for _, context in self.answers if context.suffix == suffix)

    @property
    def hub_paths(self) -> list[str]:
        """The configured paths that are of the hub."""
        sections = [None if section is None else vars(section) for section in (self.captions, self.qa)]
        return list(dict.fromkeys(filter(is_hub_path, data_paths(*sections))))

    def allows_urls(self, task: Task) -> bool:
        """Whether images of a task may be fetched from http(s) addresses."""
        of_questions = task == "qa" or (self.captions is not None and self.captions.of_questions)
        return of_questions and self.qa is not None and self.qa.allow_urls

    def hub_commits(self, task: Task) -> dict[str, str]:
        """{path of the hub: the commit that it was planned with} of a task."""
        section = self.section(task)
        paths = data_paths(vars(section), None) if task == "captions" else data_paths(None, vars(section))
        return {path: section.hub[path]["commit"] for path in paths if path in section.hub}

    @property
    def tasks_share_images(self) -> bool:
        """Whether captions and questions are of the same folder, so that one scan serves both."""
        if self.captions is None or self.qa is None or self.captions.of_questions:
            return False
        return self.captions.dataset_path == self.qa.dataset_path

    def files_together(self, questions_by_image: bool) -> dict[Task, int]:
        """How many final files of each task are about the same images, so that their jobs keep together.

        `questions_by_image` says that questions have the places of their images.
        """
        shared = self.tasks_share_images or (self.captions is not None and self.captions.of_questions)
        questions = shared and questions_by_image and "image" in {context.kind for context in self.contexts}
        files: dict[Task, int] = {"captions": len(self.caption_sets), "qa": int(questions)}
        return files if self.client.share_images and sum(files.values()) > 1 else {"captions": 0, "qa": 0}

    @overload
    def section(self, task: Literal["captions"]) -> CaptionsConfig: ...
    @overload
    def section(self, task: Literal["qa", "judge"]) -> QaConfig: ...
    @overload
    def section(self, task: Task) -> CaptionsConfig | QaConfig: ...
    def section(self, task: Task) -> CaptionsConfig | QaConfig:
        """The section of a task that is configured; answers are judged by that of the questions."""
        found = self.captions if task == "captions" else self.qa
        assert found is not None, f"{task} is not configured"
        return found
