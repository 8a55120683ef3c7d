"""A user's folder with a configuration and data, and the real workflow run on it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MODEL = "stand-in"
STYLES = ("simple", "short")
DEMO_MODEL = "demo-shapes-2M"
#: How long to wait for what has to come, in seconds: a run takes ten times as long on a machine with much else to do.
PATIENCE_S = 300
#: What a command is started by that may read and write only what modes allow, also where the tests are run by root.
AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()

#: A sitecustomize.py that has the job of a script killed where it writes a page.
KILL_PAGE_JOB = """
import os, signal, sys

def kill(event, arguments):
    if event == "open" and "/report/data/" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)

if sys.orig_argv[-1].endswith("SCRIPT"):
    sys.addaudithook(kill)
"""


class Project:
    """A user's folder: configuration, data, and the workflow run on them."""

    #: What the workflow is started by, the profile, and what else every run is given.
    prefix: tuple[str, ...] = ()
    profile = "profiles/local"
    arguments: tuple[str, ...] = ()

    def __init__(self, folder: Path):
        self.folder = folder
        self.model = MODEL
        self.out = folder / "out"
        self.config = yaml.safe_load((folder / "my.yaml").read_text()) if (folder / "my.yaml").exists() else {}

    def save(self) -> None:
        (self.folder / "my.yaml").write_text(yaml.safe_dump(self.config))

    def faults(self, **faults) -> None:
        written = self.folder / "faults.json.new"
        written.write_text(json.dumps(faults))
        written.replace(self.folder / "faults.json")  # a server may read it just now

    def command(self, *arguments: str) -> list[str]:
        snakemake = [sys.executable, "-m", "snakemake", "--directory", str(self.folder)]
        configuration = ["--configfile", str(self.folder / "my.yaml"), "--profile", self.profile]
        return [*self.prefix, *snakemake, *configuration, *self.arguments, *arguments]

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run the workflow to its end and return what it printed."""
        self.save()
        done = subprocess.run(self.command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=900)
        text = done.stdout + done.stderr
        assert not check or done.returncode == 0, text
        assert check or done.returncode != 0, text
        return text

    def start(self, *arguments: str) -> subprocess.Popen:
        self.save()
        log = open(self.folder / "run.log", "wb")  # noqa: SIM115 - the process keeps it
        return subprocess.Popen(self.command(*arguments), cwd=ROOT, stdout=log, stderr=log, start_new_session=True)

    def captionqa(self, command: str, *arguments: str) -> str:
        """Run a command of captionqa on this project, in its folder, and return what it printed."""
        self.save()
        yes = ["--yes"] if command in ("retry-failed", "forget") else []
        done = subprocess.run(
            [sys.executable, "-m", "captionqa", command, "my.yaml", *arguments, *yes],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "workflow")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def plan(self, *arguments: str) -> dict[str, int]:
        """What a dry run says would run: {rule: jobs}."""
        text = self.run("-n", *arguments)
        return {} if "captionqa: nothing to do: " in text else job_counts(text)

    def ran(self) -> dict[str, int]:
        """What the last run ran, or would have run had no job failed: {rule: jobs}. Spares the dry run before it."""
        return job_counts(self.log())

    def log(self) -> str:
        """Snakemake's log of the last run."""
        return max((self.folder / ".snakemake" / "log").glob("*.log")).read_text()

    def printed(self) -> str:
        """What a started run has printed so far."""
        return (self.folder / "run.log").read_text()

    def journaled(self) -> int:
        """How many answers the journals hold."""
        journals = self.out.glob(f"work/{self.model}/**/journal/*.jsonl")
        return sum(path.read_bytes().count(b"\n") for path in journals)

    def journaled_texts(self) -> set[str]:
        """What the answers in the journals say."""
        journals = self.out.glob(f"work/{self.model}/**/journal/*.jsonl")
        return {line["answer"]["text"] for path in journals for line in whole_lines(path)}

    def used_servers(self) -> set[str]:
        """The URLs of the servers that gave the answers in the journals of captions."""
        journals = self.out.glob(f"work/{self.model}/captions/*/journal/*.jsonl")
        return {line["answer"]["server"]["url"] for path in journals for line in whole_lines(path)}

    def asked_once(self) -> bool:
        """Whether the server was asked for nothing twice."""
        seen = [(request["text"], *request["images"]) for request in self.requests()]
        return len(seen) == len(set(seen))

    def requests(self) -> list[dict]:
        path = self.folder / "requests.jsonl"
        return whole_lines(path) if path.exists() else []

    def forget_requests(self) -> None:
        (self.folder / "requests.jsonl").unlink(missing_ok=True)

    def captions(self, style: str = "simple", suffix: str = "") -> dict:
        return json.loads((self.out / "captions" / self.model / f"{self.model}_{style}{suffix}.json").read_text())

    def qa(self, kind: str) -> dict:
        return json.loads((self.out / "qa" / self.model / f"{self.model}_qa_{kind}.json").read_text())

    def comparison(self) -> dict:
        return json.loads((self.out / "comparison.json").read_text())

    def page(self) -> dict:
        """The overview of the results page."""
        text = (self.out / "report" / "data" / "overview.js").read_text()
        return json.loads(json.loads(text.partition(",")[2].rpartition(")")[0]))

    def chunks(self, style: str) -> list[Path]:
        return sorted((self.out / "work" / self.model / "captions" / style / "chunks").glob("*.jsonl"))

    @property
    def key_file(self) -> Path:
        """The file of the key, while the server runs: of its generation, or of the user's where there is a `url`."""
        existing = self.config["models"][self.model].get("url")
        return self.out / "work" / self.model / "server" / ("api_key" if existing else "key-0.json")

    def files_with(self, secret: str) -> list[Path]:
        """The files of this project, Snakemake's and hidden ones included, that hold a secret."""
        files = [path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert any(".snakemake" in path.parts for path in files)
        return [path for path in files if secret.encode() in path.read_bytes()]

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Every process that belongs to this project: driver, jobs, supervisor, server; or those that a word names."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it may end while it is looked at
                named = word in " ".join(process.cmdline())
                if named and process.status() != psutil.STATUS_ZOMBIE and self._mine(process):
                    found.append(process)
        return found

    def _mine(self, process: psutil.Process) -> bool:
        if process.pid == os.getpid():
            return False
        return str(self.folder) in " ".join(process.cmdline()) or process.cwd() == str(self.folder)

    def wait_for(self, condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s in vain; {self.printed()}"
            time.sleep(0.1)

    def kill(self, word: str = "") -> None:
        """Kill the processes that a word names, or all; one may end with the one before it."""
        for process in self.processes(word):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def whole_lines(path: Path) -> list[dict]:
    """The lines of a JSONL file, but one that is being written."""
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def job_counts(text: str) -> dict[str, int]:
    """Snakemake's table of the jobs of a run or a dry run: {rule: jobs}."""
    rows = text.split("Job stats:")[1].split("total")[0].splitlines()[3:]
    return {name: int(count) for name, count in (row.split() for row in rows if row.strip())}


def draw_image(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), (number * 17 % 256, number * 5 % 256, 90)).save(path)


def stand_in_server(folder: Path) -> dict:
    """The `server` section for a stand-in that keeps its requests and finds its faults in the folder."""
    return {
        "command": [sys.executable, str(ROOT / "tests" / "stand_in_server.py")],
        "env": {
            "STAND_IN_REQUESTS": str(folder / "requests.jsonl"),
            "STAND_IN_FAULTS": str(folder / "faults.json"),
        },
        "health_interval_s": 0.5,
        "lease_timeout_s": 8,
        "max_restarts": 1,
    }
