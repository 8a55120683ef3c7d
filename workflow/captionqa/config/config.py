"""The checked configuration: one dataclass for each section, with the fields of config/config.yaml.

What each key means, its unit and why are in config/config.yaml; its default and its limits in the schema. Here are the
types, and what follows from several keys together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from captionqa.config.audit_config import AuditConfig
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
from captionqa.config.layout import Layout
from captionqa.config.model_config import ModelConfig
from captionqa.config.model_versions import planned_key
from captionqa.config.qa_config import QaConfig, judge_config
from captionqa.config.report_config import ReportConfig
from captionqa.config.sections import Sections, named_sections

if TYPE_CHECKING:
    from captionqa.config.judge_config import JudgeConfig

#: What models are asked: the two tasks of a run, and the judging of answers.
Task = Literal["captions", "qa", "judge"]
#: The two tasks of a run; a configuration may leave one out.
TASKS: tuple[Task, ...] = ("captions", "qa")
#: Whether the servers of several models run one after the other, or all at once.
Servers = Literal["one_at_a_time", "side_by_side"]


@dataclass(frozen=True)
class Config:
    """The whole configuration of a run, or what it is for one of several data sets (`data_sets`).

    Of a run with named data sets `captions` and `qa` are None, and what is about the data sets is asked of each.
    """

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
    #: {name of a data set: what is asked about it}; empty for the only data set of a run, which has no name.
    named: Mapping[str, Sections] = field(default_factory=dict)
    #: The name of the data set that this is the configuration for; empty where it has none, and for a whole run.
    data_set: str = ""
    #: Of one named data set: the reader and the judge of the whole run.
    run_reader: str | None = None
    run_judge: "JudgeConfig | None" = None

    @classmethod
    def of(cls, checked: Mapping[str, Any]) -> Self:
        """The configuration of a mapping that `check` has checked and completed, as Snakemake hands it to jobs.

        The version of its model is the one that the last run was planned with.
        """
        output_dir, data_set = checked["output_dir"], checked.get("data_set", "")
        named = {
            name: Sections.of(sections, Layout(output_dir).of_data_set(name))
            for name, sections in named_sections(checked).items()
        }
        captions, qa = (None, None) if named else Sections.of(checked, Layout(output_dir).of_data_set(data_set))
        return cls(
            output_dir=output_dir,
            models={
                name: ModelConfig.of(model, planned_key(output_dir, name, model))
                for name, model in checked["models"].items()
            },
            servers=checked["servers"],
            captions=captions,
            qa=qa,
            export=ExportConfig(**checked["export"]),
            audit=AuditConfig(**checked["audit"]),
            report=ReportConfig(**checked["report"]),
            client=ClientConfig.of(checked["client"]),
            named=named,
            data_set=data_set,
            run_reader=checked.get("run_reader"),
            run_judge=judge_config(judge) if (judge := checked.get("run_judge")) else None,
        )

    @cached_property
    def data_sets(self) -> Mapping[str, "Config"]:
        """{name: the configuration for the data set}; of the only data set, which has no name, the name is empty."""
        if not self.named:
            return {self.data_set: self}
        return {
            name: replace(
                self,
                captions=sections.captions,
                qa=sections.qa,
                named={},
                data_set=name,
                run_reader=self.reader,
                run_judge=self.any_judge,
            )
            for name, sections in self.named.items()
        }

    def of_data_set(self, text: str) -> "Config":
        """The configuration for a data set, by its name as it is in `Layout.data_set`."""
        return self.data_sets[text.removeprefix("/")]

    def by_data_set(self, layout: Layout) -> list[tuple["Config", Layout]]:
        """Of each data set the configuration and the paths, by those of the run; or of this one alone."""
        return [(each, layout.of_data_set(name)) for name, each in self.data_sets.items()]

    def with_data_sets(self, changed: Iterable["Config"]) -> "Config":
        """This configuration, with the sections of the data sets as they are in the changed ones."""
        sections = {each.data_set: Sections(each.captions, each.qa) for each in changed}
        if self.named:
            return replace(self, named={**self.named, **sections})
        captions, qa = sections[self.data_set]
        return replace(self, captions=captions, qa=qa)

    def layout(self, model: str | None = None) -> Layout:
        """The paths of a model of the run and of the data set; by default of the model that has the run's files."""
        run_model = None if model is None else self.model_name
        return Layout(self.output_dir, model or self.model_name, run_model).of_data_set(self.data_set)

    def title(self, name: str, model: str) -> str:
        """The name of a final file, as a person reads it: after a named data set and one of several models."""
        of_model = name if len(self.models) == 1 else f"{model}: {name}"
        return f"{self.data_set}: {of_model}" if self.data_set else of_model

    @property
    def sections(self) -> Sections:
        """What is asked about the one data set."""
        return Sections(self.captions, self.qa)

    @property
    def reader(self) -> str | None:
        """The model that answers from the captions of the others, if there is one: the same for all data sets."""
        if self.run_reader is not None:
            return self.run_reader
        sections = (self.qa, *(each.qa for each in self.named.values()))
        return next((qa.reader for qa in sections if qa is not None and qa.reader is not None), None)

    @property
    def judge(self) -> "JudgeConfig | None":
        """How answers of the one data set are judged; None where they are not."""
        self._assert_of_one()
        return None if self.qa is None else self.qa.judge

    @property
    def any_judge(self) -> "JudgeConfig | None":
        """The judge of the run, the same model for all data sets that are judged; None where none is."""
        if self.run_judge is not None:
            return self.run_judge
        sections = (self.qa, *(each.qa for each in self.named.values()))
        return next((qa.judge for qa in sections if qa is not None and qa.judge is not None), None)

    @property
    def judge_alone(self) -> str | None:
        """The judge, where it neither captions nor answers: unless it may judge itself under its own name."""
        judge = self.any_judge
        return None if judge is None or judge.model == self.reader else judge.if_alone(self.models, self.reader)

    @property
    def captioners(self) -> list[str]:
        """The names of all models but the reader and a judge that does nothing else; one that judges too is last."""
        names = [name for name in self.models if name not in (self.reader, self.judge_alone)]
        judge = self.any_judge
        return sorted(names, key=lambda name: judge is not None and name == judge.model)

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
        """The tasks of one model, captions first; of several data sets those that one of them has."""
        if self.named:
            found = set(chain.from_iterable(each.tasks_of(model) for each in self.data_sets.values()))
            return [task for task in self.tasks if task in found]
        does = {"captions": model in self.captioners, "qa": bool(self.contexts_of(model))}
        return [task for task in self.tasks if does[task]]

    def server_tasks(self, model: str) -> list[Task]:
        """What the one data set needs a model's server for: its tasks, and then the judging, if it is the judge."""
        judging: list[Task] = ["judge"] if self.judge is not None and self.judge.model == model else []
        return [*self.tasks_of(model), *judging]

    def sampling_of(self, model: str) -> Mapping[str, float | None]:
        """What the requests to one model sample by: `client.sampling`, with the model's own values in place of its."""
        return {**self.client.sampling, **self.models[model].sampling}

    @property
    def tasks(self) -> list[Task]:
        """The tasks that the configuration asks for, captions first; of several data sets those of any."""
        sections = self.named.values() or [self.sections]
        return [task for task in TASKS if any(getattr(each, task) is not None for each in sections)]

    @property
    def tasks_as_planned(self) -> list[Task]:
        """The tasks in the order in which they are planned."""
        return self.tasks[::-1] if self.captions is not None and self.captions.of_questions else self.tasks

    @property
    def prompt_styles(self) -> Sequence[str]:
        """The configured prompt styles; none where captions are left out."""
        self._assert_of_one()
        return () if self.captions is None else self.captions.prompt_styles

    @property
    def caption_sets(self) -> list[CaptionSet]:
        """The final files of captions; none where captions are left out."""
        self._assert_of_one()
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
        self._assert_of_one()
        if self.qa is None or model == self.judge_alone:
            return []
        contexts = question_contexts(self.qa.contexts, self.prompt_styles, self.qa.caption_files)
        if self.qa.reader is None:  # then the reader of other data sets has no part in this one
            return [] if model == self.reader else contexts
        return without_pictures(contexts, self.captioners) if model == self.reader else with_pictures(contexts)

    @property
    def answers(self) -> list[tuple[str, Context]]:
        """(model, context) of all final files of questions, in the order of the models."""
        return [(model, context) for model in self.model_names for context in self.contexts_of(model)]

    def context(self, suffix: str) -> Context:
        """The context whose files have this suffix."""
        return next(context for _, context in self.answers if context.suffix == suffix)

    def files_together(self, questions_by_image: bool) -> dict[Task, int]:
        """How many final files of each task are about the same images, so that their jobs keep together.

        `questions_by_image` says that questions have the places of their images.
        """
        shared = self.sections.share_images or (self.captions is not None and self.captions.of_questions)
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

    def _assert_of_one(self) -> None:
        assert not self.named, "this is asked of the configuration for one data set"
