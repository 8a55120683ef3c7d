"""captionqa itself: a configuration for a given server, chunk jobs as Snakemake would run them, and whole runs.

python -m bench.ours --folder FOLDER --file "captions SIMPLE" --chunk 0     one chunk job of a prepared folder
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from captionqa.config.check import SCHEMA, check
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import fingerprint
from captionqa.dataset.final_files import FinalFile, final_files
from captionqa.dataset.plan import Plan, load_plan
from captionqa.dataset.planning import plan_task
from captionqa.server import endpoint, generation_key
from captionqa.server.endpoint import Endpoint, State

from bench.meter import measured

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
    return check(raw, yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))), raw


def plan_of(config: Config) -> tuple[Layout, str, Plan]:
    """The layout, the one task of a configuration, and the task's plan."""
    layout, (task,) = Layout(config.output_dir, "bench"), config.tasks
    return layout, task, plan_task(config, layout, task)


def prepare(folder: Path, raw: dict[str, Any], own: OwnServer | None = None) -> int:
    """Plan the chunks of a configuration and publish its server; returns how many chunks there are.

    With `own`, the server at the configured address is published as one that the workflow started.
    """
    return len(prepare_all(folder, raw, own))


def prepare_all(
    folder: Path, raw: dict[str, Any], own: OwnServer | None = None, options: Sequence[str] = ()
) -> list[tuple[str, int]]:
    """Plan the chunks of all tasks and publish the server; returns (final file, number) of each.

    `own` is as for `prepare`; `options` are those of any other server.
    """
    url = raw["models"]["bench"]["url"]
    if own is not None:
        raw["models"]["bench"]["url"] = None
    save(folder, raw)
    config, _ = load(folder)
    layout = Layout(config.output_dir, "bench")
    chunks = []
    for task in config.tasks:
        plan = plan_task(config, layout, task)
        chunks += [(file.name, n) for file in final_files(config, layout, task) for n in range(len(plan.chunks))]
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
    return chunks


def _file_of(config: Config, layout: Layout, name: str) -> FinalFile:
    files = [file for task in config.tasks for file in final_files(config, layout, task)]
    return next(file for file in files if file.name == name or not name)


def ask_chunk(folder: Path, number: int, name: str = "") -> None:
    """Run the workflow's own script for one chunk of a final file, the only one by default, and print its figures."""
    import captionqa.client.chunk_run  # noqa: F401 - importing is start-up, which bench.parts.startup measures
    import PIL.JpegImagePlugin  # noqa: F401

    config, completed = load(folder)
    layout = Layout(config.output_dir, "bench")
    file = _file_of(config, layout, name)
    task, plan = file.task, load_plan(layout, file.task)
    result = Path(file.results(config, layout)[number])
    snakemake = SimpleNamespace(
        config=completed,
        wildcards=SimpleNamespace(
            model="bench",
            data_set="",
            style=file.name.split()[-1].lower(),
            context="",
            chunk=str(number),
            n=str(plan.n),
            fingerprint=fingerprint(file.settings),
        ),
        resources=SimpleNamespace(mem_mb=16_000),
        params=SimpleNamespace(task=task),
        log=[str(folder / f"chunk-{name.replace(' ', '-')}-{number}.log")],
        input=SimpleNamespace(item_list=plan.item_lists(layout, task)[number]),
        output=[str(result)],
    )
    with measured() as figures:
        runpy.run_path(str(ROOT / "workflow" / "scripts" / "ask_chunk.py"), init_globals={"snakemake": snakemake})
        with open(result, encoding="utf-8") as lines:
            next(lines)
            figures["images"] = sum("answer" in json.loads(line) for line in lines)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--file", default="", help="the final file, such as 'captions SIMPLE'; by default the only one")
    parser.add_argument("--chunk", type=int, required=True)
    options = parser.parse_args()
    ask_chunk(options.folder, options.chunk, options.file)


if __name__ == "__main__":
    main()
