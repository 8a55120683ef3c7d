"""captionqa itself: a configuration for a given server, chunk jobs that are ready to run, and whole runs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from captionqa.config.check import check, read_schema
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import fingerprint
from captionqa.dataset.final_files import FinalFile, final_files
from captionqa.dataset.plan import Plan
from captionqa.dataset.planning import plan_task
from captionqa.server import endpoint, generation_key
from captionqa.server.endpoint import Endpoint, State

ROOT = Path(__file__).resolve().parents[1]
STYLE = "SIMPLE"
CONFIG = "bench.yaml"
#: By which a vLLM proves that it is one of captionqa's own.
KEY = "bench"
#: Without a driver there is no lease that a chunk job could watch.
NO_LEASE_S = 10**6


@dataclass(frozen=True)
class OwnServer:
    """A vLLM that stands for one which the workflow started."""

    #: Its options, from which the client sees what its caches hold.
    argv: Sequence[str]
    #: The version of vLLM.
    version: str


@dataclass(frozen=True)
class PreparedJob:
    """A chunk job that is ready to run."""

    #: The name of its final file, and the number of its chunk.
    file: str
    number: int
    #: What Snakemake would hand to its script, as JSON.
    given: Path

    def command(self, python: str) -> list[str]:
        """The command that runs it, in a Python that has what a chunk job imports."""
        return [python, "-m", "bench.chunk_job", str(self.given)]


def configuration(
    folder: Path, images: Path, url: str, model: str, max_tokens: int, /, **changes: Any
) -> dict[str, Any]:
    """A raw configuration that asks an existing server for captions, or for answers if `questions` names a file.

    The other `changes` go into its `client` part.
    """
    task = {"dataset_path": str(images), "max_tokens": max_tokens, "chunks": changes.pop("chunks", 1)}
    if (questions := changes.pop("questions", None)) is not None:
        task["question_path"] = str(questions)
    return {
        "output_dir": str(folder / "output"),
        "models": {"bench": {"path": model, "url": url, "server": {"lease_timeout_s": NO_LEASE_S}}},
        "captions" if questions is None else "qa": task,
        "client": changes,
    }


def save(folder: Path, raw: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(yaml.safe_dump(raw))


def load(folder: Path) -> tuple[Config, dict[str, Any]]:
    """The configuration that was saved in a folder, checked, and the mapping that Snakemake hands to its jobs."""
    raw = yaml.safe_load((folder / CONFIG).read_text())
    return check(raw, read_schema()), raw


def plan_of(config: Config) -> tuple[Layout, str, Plan]:
    """The layout, the one task of a configuration, and the task's plan."""
    layout, (task,) = Layout(config.output_dir, "bench"), config.tasks
    return layout, task, plan_task(config, layout, task)


def prepare(
    folder: Path, raw: dict[str, Any], own: OwnServer | None = None, options: Sequence[str] = ()
) -> list[PreparedJob]:
    """Plan the chunks of all tasks and publish the server; returns the jobs.

    With `own`, the server at the configured address is published as one that the workflow started; `options` are those
    of any other server.
    """
    url = raw["models"]["bench"]["url"]
    if own is not None:
        raw["models"]["bench"]["url"] = None
    save(folder, raw)
    config, completed = load(folder)
    layout = Layout(config.output_dir, "bench")
    jobs = []
    for task in config.tasks:
        plan = plan_task(config, layout, task)
        for file in final_files(config, layout, task):
            jobs += [_job(folder, config, completed, plan, file, n) for n in range(len(plan.chunks))]
    server = Endpoint(
        replica=0,
        request_id="bench",
        settings="bench",
        model=config.model.path,
        state=State.READY,
        url=url,
        versions={} if own is None else {"vllm": own.version},
        argv=list(options) if own is None else list(own.argv),
    )
    server.publish(layout.server)
    if own is None:
        endpoint.write_key(layout.server, None)
    else:
        generation_key.write(layout.server, server, KEY)
    return jobs


def _job(
    folder: Path, config: Config, completed: dict[str, Any], plan: Plan, file: FinalFile, number: int
) -> PreparedJob:
    layout, name = Layout(config.output_dir, "bench"), f"{file.name.replace(' ', '-')}-{number}"
    given = {
        "config": completed,
        "wildcards": {
            "model": "bench",
            "data_set": "",
            "style": file.name.split()[-1].lower(),
            "context": "",
            "chunk": str(number),
            "n": str(plan.n),
            "fingerprint": fingerprint(file.settings),
        },
        "resources": {"mem_mb": 16_000},
        "params": {"task": file.task},
        "log": [str(folder / f"chunk-{name}.log")],
        "input": {"item_list": plan.item_lists(layout, file.task)[number]},
        "output": [file.results(config, layout)[number]],
    }
    path = folder / f"job-{name}.json"
    path.write_text(json.dumps(given), encoding="utf-8")
    return PreparedJob(file.name, number, path)


def run_workflow(folder: Path, raw: dict[str, Any], *arguments: str) -> tuple[float, float]:
    """Run the workflow; returns its wall and CPU seconds.

    Raises:
        RuntimeError: the workflow failed.
    """
    save(folder, raw)
    command = [sys.executable, "-m", "snakemake", "--directory", str(folder), "--profile", "profiles/local"]
    started, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [*command, "--configfile", str(folder / CONFIG), *arguments], cwd=ROOT, capture_output=True, text=True
    )
    seconds, after = time.perf_counter() - started, os.times()
    if done.returncode:
        raise RuntimeError(f"the workflow failed: {(done.stdout + done.stderr)[-2000:]}")
    return seconds, sum(after[2:4]) - sum(before[2:4])
