"""The layout of an output folder: final files, logs, plans and work folders."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from captionqa.config.contexts import READ
from captionqa.config.server_files import ServerFiles

WORK = "work"
#: The name of a chunk's list of items; `digest` is that of the list.
ITEMS_NAME = "{chunk}-of-{n}.{digest}.jsonl"
#: The name of the file of all question rows; `digest` is that of the rows.
ROWS_NAME = "questions.{digest}.jsonl"


@dataclass(frozen=True)
class Layout:
    """Paths below one output folder for one model and data set; each may hold Snakemake wildcards such as `{model}`.

    Files that rules name are text, since Snakemake compares paths as text.
    """

    output_dir: str
    model: str = "{model}"
    #: The model in whose work folder the files of a run of several models are; by default this one.
    run_model: str | None = None
    #: What leads from `output_dir` to the folder of a named data set: a slash and the name. Empty for the only data set
    #: of a run, which has no name, and for what is of the whole run.
    data_set: str = ""

    def of_models(self, models: Iterable[str]) -> list["Layout"]:
        """The paths of each of the models of one run."""
        return [replace(self, model=model, run_model=self.run_model or self.model) for model in models]

    def of_data_set(self, name: str) -> "Layout":
        """The paths of a data set of the run, by its name, which may be empty."""
        return replace(self, data_set=f"/{name}" if name else "")

    @property
    def data_folder(self) -> str:
        """The folder of the data set's files."""
        return f"{self.output_dir}{self.data_set}"

    # Final files

    def captions(self, style: str = "{style}", suffix: str = "") -> str:
        return f"{self.data_folder}/captions/{self.model}/{self.model}_{style}{suffix}.json"

    def qa(self, kind: str, context: str = "") -> str:
        """A final file of the questions; `context` is the suffix of their context."""
        return f"{self.data_folder}/qa/{self.model}/{self.model}{_answers(context)}_{kind}.json"

    def read_qa(self, kind: str) -> str:
        """As `qa`, with a wildcard for the contexts in which a reader answers from captions."""
        return f"{self.data_folder}/qa/{self.model}/{self.model}{{context}}_{kind}.json"

    def caption_export(self, style: str = "{style}", form: str = "{format}") -> str:
        """Folder of the captions of one prompt style in one format."""
        return f"{self.data_folder}/export/captions/{self.model}/{self.model}_{style}_{form}"

    def answer_export(self, form: str = "{format}", context: str = "") -> str:
        """Folder of the answers of one context, by its suffix, in one format."""
        return f"{self.data_folder}/export/qa/{self.model}/{self.model}{_answers(context)}_{form}"

    def read_answer_export(self) -> str:
        """As `answer_export`, with wildcards for the format and the contexts in which a reader answers."""
        return f"{self.data_folder}/export/qa/{self.model}/{self.model}{{context}}_{{format}}"

    @staticmethod
    def export_summary(folder: str) -> str:
        """What an export holds; hidden, so that no reader takes it for data."""
        return f"{folder}/.export"

    @property
    def audit(self) -> str:
        """Table of the audit's findings in the images and the questions."""
        return f"{self.output_dir}/audit.tsv"

    def comparison(self, ending: str) -> str:
        """The comparison of all answers of the run; the endings are json, csv and md."""
        return f"{self.output_dir}/comparison.{ending}"

    @property
    def page(self) -> str:
        """The page that shows the results with their images; its folder holds all that it needs."""
        return f"{self.data_folder}/report/index.html"

    @property
    def page_in_one_file(self) -> str:
        """A part of the page as one file, for Snakemake's report."""
        return f"{self.data_folder}/report/results.html"

    @property
    def page_tables(self) -> str:
        """The figures of the page as tables, for Snakemake's report."""
        return f"{self.data_folder}/report/tables.html"

    # Logs

    @property
    def logs(self) -> str:
        """Folder of the logs of the data set's jobs."""
        return f"{self.data_folder}/logs/{self.model}"

    @property
    def server_logs(self) -> str:
        """Folder of the logs of the model's servers."""
        return f"{self.output_dir}/logs/{self.model}"

    def server_log(self, replica: int = 0) -> str:
        return f"{self.server_logs}/server-{replica}.log"

    def previous_server_log(self, replica: int = 0) -> str:
        """The log of the server before the present one."""
        return f"{self.server_logs}/server-{replica}.previous.log"

    @property
    def verdict(self) -> str:
        """Where the time of the last run that sent requests went."""
        return f"{self.output_dir}/logs/{self.run_model or self.model}/verdict.json"

    # Item lists, which do not depend on the model

    @property
    def plans(self) -> str:
        """Folder of the item lists and of the plans that they belong to."""
        return f"{self.data_folder}/{WORK}/items"

    def plan(self, task: str) -> Path:
        """The plan of one task."""
        return Path(self.task_items(task)) / "plan.json"

    def task_items(self, task: str) -> str:
        """Folder of the item lists of one task."""
        return f"{self.plans}/{task}"

    def items(self, task: str, name: str = ITEMS_NAME) -> str:
        """The list of one chunk's items."""
        return f"{self.task_items(task)}/{name}"

    def question_rows(self, digest: str) -> str:
        """All rows of the question file, sorted by id, which grading needs beside the answers."""
        return self.items("qa", ROWS_NAME.format(digest=digest))

    @property
    def questions_by_image(self) -> Path:
        """Marker: questions on one image have the place of their image. Answers of earlier versions are elsewhere."""
        return Path(self.data_folder) / WORK / "questions_by_image"

    def has_questions_by_image(self) -> bool:
        """Whether there is that marker, or no answer that would be lost by setting it."""
        work = Path(self.data_folder) / WORK
        # forgotten ones may come back
        answers = chain(work.glob("*/qa*/journal/*.jsonl"), work.glob("*/qa*/forgotten/journal/*.jsonl"))
        return self.questions_by_image.exists() or not any(answers)

    @property
    def question_images(self) -> Path:
        """The names of the images that the last plan's questions refer to."""
        return Path(self.plans) / "qa" / "images.jsonl"

    @property
    def caption_links(self) -> Path:
        """Which chunks of captions hold the captions of each chunk of questions, by the last plans."""
        return Path(self.plans) / "qa" / "caption_links.json"

    @property
    def caption_images(self) -> Path:
        """The names of the files that the rows of the last plan's data set refer to."""
        return Path(self.plans) / "captions" / "images.jsonl"

    @property
    def hub_data(self) -> str:
        """The local files of the last plan's hub data sets."""
        return f"{self.plans}/hub.json"

    @property
    def sniffed(self) -> Path:
        """Whether each file without an image suffix has image content, as the last scan found it."""
        return Path(self.plans) / "sniffed.jsonl"

    # Work folders of one model

    @property
    def work(self) -> str:
        return f"{self.data_folder}/{WORK}/{self.model}"

    def captions_work(self, style: str = "{style}") -> str:
        """Folder of the `AnswerFiles` of one prompt style."""
        return f"{self.work}/captions/{style}"

    def qa_work(self, context: str = "") -> str:
        """Folder of the `AnswerFiles` of the questions in one context, by its suffix."""
        return f"{self.work}/qa{context}"

    def judge_work(self, model: str = "{model}", context: str = "{context}") -> str:
        """Folder of the `AnswerFiles` of this model as the judge of the answers of `model` in one context."""
        return f"{self.work}/judge/{model}/qa{context}"

    def graded(self, context: str = "") -> str:
        """The last grading of the answers of one context, with which the next one is compared."""
        return f"{self.qa_work(context)}/graded.jsonl"

    # Files of the whole run

    @property
    def run_work(self) -> str:
        """The work folder that holds the files of the whole run."""
        return f"{self.output_dir}/{WORK}/{self.run_model or self.model}"

    @property
    def failures_checked(self) -> str:
        """Marker: no final file has more failures than allowed."""
        return f"{self.run_work}/failures_checked"

    @property
    def errors(self) -> Path:
        """Folder of the error messages of this run's failed jobs."""
        return Path(self.run_work) / "errors"

    def job_name(self, name: str) -> str:
        """The name of a job among the files of the run: with the data set, and the model where it is not the first."""
        name += f" of {self.data_set.removeprefix('/')}" if self.data_set else ""
        return name if self.run_model in (None, self.model) else f"{name} by {self.model}"

    def job_file(self, name: str) -> str:
        """What the files of a job among those of the run are called: for no other job the same, unlike its name.

        No name of a data set or a model holds the sign between the parts.
        """
        model = "" if self.run_model in (None, self.model) else self.model
        parts = filter(None, (name, self.data_set.removeprefix("/"), model))
        return "@".join(parts).replace(" ", "_").replace("/", "_")

    def job_error(self, job: str) -> Path:
        """The error message of one job, by the name of its files."""
        return self.errors / f"{job}.json"

    @property
    def progress(self) -> Path:
        """Folder of the progress and the thread time of this run's chunk jobs."""
        return Path(self.run_work) / "progress"

    def job_progress(self, job: str) -> Path:
        """The progress of one chunk job."""
        return self.progress / f"{job}.json"

    @property
    def positions(self) -> Path:
        """Folder of how far this run's chunk jobs are in the order of the images."""
        return Path(self.work) / "positions"

    def job_position(self, job: str) -> Path:
        """How far one job is in the order of the images."""
        return self.positions / f"{job}.json"

    @property
    def job_times(self) -> Path:
        """Folder of the times at which this run's jobs worked."""
        return Path(self.run_work) / "spans"

    # The model and its servers, whichever data sets it is asked about

    @property
    def model_work(self) -> str:
        return f"{self.output_dir}/{WORK}/{self.model}"

    @property
    def model_versions(self) -> Path:
        """The versions of the model whose answers the work folders hold."""
        return Path(self.model_work) / "model_versions.json"

    @property
    def server(self) -> Path:
        """Folder of the `ServerFiles`."""
        return Path(self.model_work) / "server"

    @property
    def server_files(self) -> ServerFiles:
        return ServerFiles(self.server)

    @property
    def sentinel(self) -> str:
        return str(self.server_files.sentinel)

    def live(self, task: str = "{task}") -> str:
        return str(self.server_files.live(task, self.data_set))

    def released(self, task: str = "{task}") -> str:
        return str(self.server_files.released(task, self.data_set))


def _answers(context: str) -> str:
    """What follows the model's name in the names of its answers in a context, by the context's suffix."""
    return context if context.startswith(READ) else f"_qa{context}"
