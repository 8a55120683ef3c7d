"""`qa` of the configuration: the questions, and how their answers are graded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from captionqa.config.contexts import UNNAMED, ContextKind
from captionqa.config.data_root import data_folder
from captionqa.config.hub_record import HubRecord, local_files
from captionqa.config.instructions import instructions_by_type
from captionqa.config.repeats import ASKED_ONCE, Repeats, ShuffleConfig

if TYPE_CHECKING:
    from captionqa.config.judge_config import JudgeConfig

Auto = Literal["auto"]
#: How an answer is scored, and what the ground truths of the question file are.
Scoring = Literal["any", "exact", "relaxed", "vqa", "anls"]
AnswerForm = Literal["auto", "letter", "index0", "index1", "text", "list"]
#: What `qa.columns` gives for one field of a question.
ColumnSource = str | Sequence[Any] | Mapping[str, Any] | Auto | None


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
    #: The model that grades answers which the rules cannot read; None for none.
    judge: "JudgeConfig | None" = None
    #: No key of the configuration: the local files of data sets of the hub.
    hub: HubRecord = field(default_factory=dict)

    @classmethod
    def of(cls, checked: Mapping[str, Any], hub: HubRecord) -> Self:
        shuffle, judge = checked.get("shuffle_choices"), checked.get("judge")
        return cls(
            **{
                **checked,
                "columns": ColumnsConfig(**checked["columns"]),
                "shuffle_choices": None if shuffle is None else ShuffleConfig(**shuffle),
                "judge": None if judge is None else judge_config(judge),
                "hub": hub,
            }
        )

    @property
    def repeats(self) -> Repeats:
        """How often each question is asked."""
        return Repeats(self.shuffle_choices, self.samples)

    @property
    def is_repeated(self) -> bool:
        """Whether questions are asked more than once."""
        return self.repeats != ASKED_ONCE

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


def judge_config(checked: Mapping[str, Any]) -> "JudgeConfig":
    """`qa.judge` of a checked configuration; most have none, and each job would feel the import."""
    from captionqa.config.judge_config import JudgeConfig

    return JudgeConfig(**checked)
