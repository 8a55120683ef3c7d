"""Where every file of a run is: the final files, the work folder and the logs."""

from dataclasses import dataclass
from pathlib import Path

WORK = "work"
CHUNK_NAME = "{chunk}-of-{n}.{fingerprint}.{digest}.jsonl"
ITEMS_NAME = "{chunk}-of-{n}.{digest}.jsonl"
ROWS_NAME = "questions.{digest}.jsonl"


@dataclass(frozen=True)
class Layout:
    """Paths below one output folder for one model; both may hold wildcards such as `{model}`."""

    output_dir: str
    model: str = "{model}"

    @property
    def work(self) -> str:
        return f"{self.output_dir}/{WORK}/{self.model}"

    @property
    def server(self) -> Path:
        """Folder of the server's life: lease, key, request, endpoints, markers."""
        return Path(self.work) / "server"

    @property
    def sentinel(self) -> str:
        return f"{self.server}/ready.json"

    @property
    def run(self) -> str:
        """What the driver knows before its first job: whether a server is needed, and how Slurm starts one."""
        return f"{self.server}/run.json"

    def live(self, task: str = "{task}") -> str:
        return f"{self.server}/live/{task}"

    def released(self, task: str = "{task}") -> str:
        return f"{self.server}/released/{task}.json"

    @property
    def plans(self) -> str:
        """Folder of the item lists, which do not depend on the model."""
        return f"{self.output_dir}/{WORK}/items"

    def items(self, task: str, name: str = ITEMS_NAME) -> str:
        return f"{self.plans}/{task}/{name}"

    def question_rows(self, digest: str) -> str:
        """All rows of the question file, sorted by id, which grading needs beside the answers."""
        return self.items("qa", ROWS_NAME.format(digest=digest))

    def captions_work(self, style: str = "{style}") -> str:
        return f"{self.work}/captions/{style}"

    @property
    def qa_work(self) -> str:
        return f"{self.work}/qa"

    @property
    def graded(self) -> str:
        """The last grading of the answers, which the next one is compared with."""
        return f"{self.qa_work}/graded.jsonl"

    def captions(self, style: str = "{style}", suffix: str = "") -> str:
        return f"{self.output_dir}/captions/{self.model}/{self.model}_{style}{suffix}.json"

    def qa(self, kind: str) -> str:
        return f"{self.output_dir}/qa/{self.model}/{self.model}_qa_{kind}.json"

    @property
    def checked(self) -> str:
        """Marker: no final file has more failures than allowed."""
        return f"{self.work}/failures_checked"

    @property
    def audit(self) -> str:
        """Table of what is wrong or odd with the images and the questions."""
        return f"{self.output_dir}/audit.tsv"

    @property
    def logs(self) -> str:
        return f"{self.output_dir}/logs/{self.model}"

    def server_log(self, replica: int = 0) -> str:
        return f"{self.logs}/server-{replica}.log"

    @property
    def errors(self) -> Path:
        """Folder of what failed jobs of the run had to say."""
        return Path(self.work) / "errors"

    @property
    def progress(self) -> Path:
        """Folder of what the run's chunk jobs have done so far, and how busy they were."""
        return Path(self.work) / "progress"

    @property
    def spans(self) -> Path:
        """Folder of when the run's jobs worked."""
        return Path(self.work) / "spans"

    @property
    def verdict(self) -> str:
        """Where the time of the last run that asked a server went."""
        return f"{self.logs}/verdict.json"
