"""The checked configuration: one dataclass for each section, with the fields of config/config.yaml.

What each key means, its unit and why are in config/config.yaml; its default and its limits in the schema. Here are the
types, and what follows from several keys together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, overload

from captionqa.config.caption_schema import read_schema
from captionqa.config.caption_sets import CaptionSet, caption_sets
from captionqa.config.client_config import ClientConfig
from captionqa.config.contexts import (
    UNNAMED,
    Context,
    ContextKind,
    question_contexts,
    with_pictures,
    without_pictures,
)
from captionqa.config.data_root import data_folder
from captionqa.config.export_config import ExportConfig
from captionqa.config.hub_record import HubRecord, data_paths, is_hub_path, local_files, read_hub_record
from captionqa.config.instructions import instructions_by_type
from captionqa.config.model_config import ModelConfig
from captionqa.config.model_versions import planned_key
from captionqa.config.repeats import Repeats, ShuffleConfig

#: The two tasks of a run; a configuration may leave one out.
Task = Literal["captions", "qa"]
TASKS: tuple[Task, ...] = ("captions", "qa")
Auto = Literal["auto"]
#: Whether the servers of several models run one after the other, or all at once.
Servers = Literal["one_at_a_time", "side_by_side"]
#: What `captions.dataset_path` is taken for.
ReadAs = Literal["auto", "images", "tables", "tars"]
#: How an answer is scored, and what the ground truths of the question file are.
Scoring = Literal["any", "exact", "relaxed", "vqa", "anls"]
AnswerForm = Literal["auto", "letter", "index0", "index1", "text", "list"]
#: What `qa.columns` gives for one field of a question.
ColumnSource = str | Sequence[Any] | Mapping[str, Any] | Auto | None


@dataclass(frozen=True)
class CaptionColumnsConfig:
    """`captions.columns`: which columns of parquet and Arrow files hold what."""

    #: A column of images, or several whose images belong together.
    image: str | Sequence[str] | Auto
    #: The column of the rows' names; None where they have none.
    id: str | Auto | None
    #: The list of rows in an object of JSON.
    rows: str | None = None


@dataclass(frozen=True)
class CaptionsConfig:
    """`captions`: the images, and what is asked about each."""

    dataset_path: str
    #: The name of a known form of data sets, or the path of a user's own preset.
    preset: str | None
    read_as: ReadAs
    #: The folder that the paths in a list of images are relative to; None for that of the list.
    image_folder: str | None
    columns: CaptionColumnsConfig
    multi_image_prompt: str | None
    prompt_styles: Sequence[str]
    prompts: Mapping[str, str]
    #: The file of a JSON schema that each caption is JSON by; None for free text.
    schema: str | None
    max_tokens: int
    #: How many captions of each image in each style, by different seeds.
    samples: int
    #: How many images are captioned, or below 1 which share; None for all.
    limit: int | float | None
    chunks: int | Auto
    #: No key of the configuration: the local files of data sets of the hub.
    hub: HubRecord = field(default_factory=dict)
    #: No key of the configuration: where only the images of the questions are captioned, their folder. Then
    #: `dataset_path` is that of the questions.
    questions_root: str | None = None
    #: No key of the configuration: what is in the file `schema`, as JSON.
    schema_text: str | None = None

    @classmethod
    def of(cls, checked: Mapping[str, Any], hub: HubRecord, qa: "QaConfig | None") -> Self:
        fields = {**checked, "columns": CaptionColumnsConfig(**checked["columns"]), "hub": hub}
        if checked["dataset_path"] is None and qa is not None:
            fields |= {"dataset_path": qa.dataset_path, "questions_root": qa.data_path}
        if checked["schema"] is not None:
            fields["schema_text"] = read_schema(checked["schema"])
        return cls(**fields)

    @property
    def of_questions(self) -> bool:
        """Whether only the images that the questions name are captioned."""
        return self.questions_root is not None

    @property
    def local_path(self) -> str:
        """`dataset_path`, or its local files where it is of the hub."""
        return local_files(self.dataset_path, self.hub)

    @property
    def data_path(self) -> str:
        """The path whose `data_root` is the data folder."""
        return self.questions_root or self.image_folder or self.local_path


@dataclass(frozen=True)
class ColumnsConfig:
    """`qa.columns`: which columns of the question file hold what; None where no column does.

    Each is a column, a nested field by its dotted path, a template of these, {constant: text}, or a list of such.
    """

    qid: ColumnSource = "auto"
    question: ColumnSource = "auto"
    answer: ColumnSource = "auto"
    #: A column of lists, or columns with a choice each.
    choices: ColumnSource = "auto"
    #: One or more columns of images; or {file, by, is, column} where another table holds them.
    images: ColumnSource = "auto"
    category: ColumnSource = "auto"
    source: ColumnSource = "auto"
    hint: ColumnSource = "auto"
    context: ColumnSource = "auto"
    #: What says whether a question is multiple choice, open-ended or yes/no.
    type: ColumnSource = None
    #: The column of lists of which each element is a question of its own.
    explode: str | None = None
    #: The list of rows in an object of JSON.
    rows: str | None = None
    #: Another table with further columns, as {file, by} and if needed {rows, is}.
    join: Mapping[str, str] | None = None
    #: {ground truth in the file: what it means}.
    answer_values: Mapping[str, str] = field(default_factory=dict)
    #: Whether the choices are in the image, and so not to be written below the question.
    choices_in_image: bool = False
    #: Whether another row's qid in place of an image means that row's images.
    shared_images: bool = False


@dataclass(frozen=True)
class QaConfig:
    """`qa`: the questions, and how their answers are graded."""

    #: One path, or several.
    question_path: str | Sequence[str]
    #: Where none is configured, the folder of the question file.
    dataset_path: str
    #: The name of a known data set, or the path of a user's own preset.
    preset: str | None
    #: The published evaluation by whose rules questions are asked and graded; None for captionqa's own.
    protocol: Literal["captionqa"] | None
    columns: ColumnsConfig
    answer_is: AnswerForm
    scoring: Scoring
    max_tokens: int
    #: What each question is asked with in place of its images.
    contexts: Sequence[ContextKind]
    #: The model that answers from the captions of the others; None where each answers from its own.
    reader: str | None
    #: The text that stands for an image where its caption, `{caption}`, is asked about.
    caption_template: str
    #: A file of captions, or several by names; None for those of this run alone.
    captions_from: str | Mapping[str, str] | None
    #: Added below each question; or one for those with `choices` and one for `open` ones.
    instruction: str | Mapping[str, str] | None
    #: {type of question: the same for questions of this type}.
    instructions: Mapping[str, str] | None
    fallback: bool
    relative_tolerance: float
    #: How many questions are asked, or below 1 which share; None for all.
    limit: int | float | None
    #: Whether images at http(s) addresses are fetched.
    allow_urls: bool
    #: {category, source or type: the values that are asked}.
    where: Mapping[str, str | Sequence[str]]
    chunks: int | Auto
    #: The orders in which the options of each question are asked; None for that of the file.
    shuffle_choices: ShuffleConfig | None = None
    #: How many answers to each question, by different seeds.
    samples: int = 1
    #: No key of the configuration: the local files of data sets of the hub.
    hub: HubRecord = field(default_factory=dict)

    @classmethod
    def of(cls, checked: Mapping[str, Any], hub: HubRecord) -> Self:
        shuffle = checked.get("shuffle_choices")
        return cls(
            **{
                **checked,
                "columns": ColumnsConfig(**checked["columns"]),
                "shuffle_choices": None if shuffle is None else ShuffleConfig(**shuffle),
                "hub": hub,
            }
        )

    @property
    def repeats(self) -> Repeats:
        """How often each question is asked."""
        return Repeats(self.shuffle_choices, self.samples)

    @property
    def local_path(self) -> str | Sequence[str]:
        """`question_path`, or its local files where it is of the hub."""
        if isinstance(self.question_path, str):
            return local_files(self.question_path, self.hub)
        return [local_files(path, self.hub) for path in self.question_path]

    @property
    def data_path(self) -> str:
        """The data folder."""
        path = local_files(self.dataset_path, self.hub)
        return path if path == self.dataset_path else str(data_folder(path))

    @property
    def caption_files(self) -> Mapping[str, str]:
        """{name: path} of the files of captions."""
        given = self.captions_from or {}
        return {UNNAMED: given} if isinstance(given, str) else given

    @property
    def instructions_by_type(self) -> Mapping[str, str]:
        """The instructions by the type of question, which planning adds; none where one is for all."""
        return instructions_by_type(self.instruction, self.instructions)


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
    def captioners(self) -> list[str]:
        """The names of all models but the reader."""
        return [name for name in self.models if name != self.reader]

    @property
    def model_names(self) -> list[str]:
        """The names of all models, in the order in which they are asked: the reader last."""
        return [*self.captioners, *([] if self.reader is None else [self.reader])]

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
        does = {"captions": model != self.reader, "qa": bool(self.contexts_of(model))}
        return [task for task in self.tasks if does[task]]

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
        if self.qa is None:
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
    def section(self, task: Literal["qa"]) -> QaConfig: ...
    @overload
    def section(self, task: Task) -> CaptionsConfig | QaConfig: ...
    def section(self, task: Task) -> CaptionsConfig | QaConfig:
        """The section of a task that is configured."""
        found = self.captions if task == "captions" else self.qa
        assert found is not None, f"{task} is not configured"
        return found
