"""The part `scale`: time and peak memory of planning and merging a million items, and the workflow's own time.

python -m bench.parts.scale plan-captions --folder FOLDER        one stage in a folder that `prepare` wrote
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from captionqa.client.answer import Answer
from captionqa.client.chunk_result import FORMAT, ChunkHeader, ResultLine, write_chunk
from captionqa.client.text_figures import text_figures
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.config import Task
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings, fingerprint
from captionqa.dataset.final_files import final_files
from captionqa.dataset.plan import load_plan
from captionqa.dataset.planning import plan_task
from captionqa.files import read_json_lines, write_json
from captionqa.results.captions import merge_captions

from bench import ours
from bench.meter import measured
from bench.processes import OURS, figures_of, start
from bench.report import Row
from bench.running import Bench, say

IMAGES_PER_FOLDER = 1000
#: Chunks of each task, so a run has 1,000.
CHUNKS = 500
#: Nothing listens there, and no request is sent: every chunk has its result.
NO_SERVER = "http://127.0.0.1:9"
CAPTION = (
    "A synthetic caption of a usual length, such as a model of some billion parameters writes about a picture. " * 8
)
ANSWER = "The answer is (A)."
#: The stages that plan, each with its task.
PLANS: dict[str, Task] = {"plan-captions": "captions", "plan-questions": "qa"}


def scale(bench: Bench) -> list[Row]:
    """Planning, merging, the dry run and a rerun with nothing to do, as the number of items grows."""
    rows = []
    for items in bench.sizes.scale:
        say(f"scale: {items:,} items")
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            rows.append(Row("scale", f"{items:,} items", figures=measure(Path(folder), items)))
    return rows


def prepare(folder: Path, items: int) -> dict[str, Any]:
    """Write `items` empty image files and as many questions on them; returns the configuration of both."""
    images = folder / "images"
    for first in range(0, items, IMAGES_PER_FOLDER):
        part = images / f"{first // IMAGES_PER_FOLDER:04d}"
        part.mkdir(parents=True)
        for number in range(first, min(first + IMAGES_PER_FOLDER, items)):
            (part / f"{number:07d}.jpg").touch()
    pd.DataFrame(
        {
            "qid": [f"q{number}" for number in range(items)],
            "question": ["Which colour is it?\nA. red\nB. blue"] * items,
            "answer": [r"\boxed{A}"] * items,
            "image": [f"{n // IMAGES_PER_FOLDER:04d}/{n:07d}.jpg" for n in range(items)],
        }
    ).to_parquet(folder / "questions.parquet")
    raw = ours.configuration(folder, images, NO_SERVER, "bench", 64, chunks=CHUNKS)
    raw["qa"] = raw["captions"] | {"question_path": str(folder / "questions.parquet")}
    ours.save(folder, raw)
    return raw


def write_results(folder: Path) -> None:
    """Write the chunk results that jobs would have written, and the markers that the server is no longer needed."""
    config, _ = ours.load(folder)
    layout = Layout(config.output_dir, "bench")
    texts: dict[Task, str] = {"captions": CAPTION, "qa": ANSWER}
    for task, text in texts.items():
        answer: Answer = {
            "text": text,
            "finish_reason": "stop",
            "prompt_tokens": 300,
            "completion_tokens": 160,
            "server": {"url": NO_SERVER, "generation": 1},
        }
        plan = load_plan(layout, task)
        (file,) = final_files(config, layout, task)
        settings, results = file.settings, file.results(config, layout)
        for (_, _, count), listed, result in zip(plan.chunks, plan.item_lists(layout, task), results, strict=True):
            header: ChunkHeader = {
                "format": FORMAT,
                "chunk": Path(result).name,
                "fingerprint": fingerprint(settings),
                "settings": settings,
                "items": count,
                "asked": count,
                "shared": 0,
                "known": 0,
                "failed": 0,
                "started": 0.0,
                "finished": 1.0,
                "concurrency": 64,
                "client": {"host": "bench", "job": None},
                "servers": [],
            }
            ids = sorted(item["id"] for item in read_json_lines(listed))
            line: ResultLine = {"id": "", "answer": answer, "files": ["0" * 24]}
            if task == "captions":
                line["figures"] = text_figures(text)
            lines: Iterator[ResultLine] = ({**line, "id": one} for one in ids)
            write_chunk(result, header, lines)
        write_json(layout.released(task), {"servers": []})
    write_json(layout.sentinel, [])


def stage(name: str, folder: Path) -> None:
    """Run one stage in this process and print its time and peak memory."""
    config, _ = ours.load(folder)
    layout = Layout(config.output_dir, "bench")
    if name in PLANS:
        task = PLANS[name]
        # as in the workflow, where both tasks have the same images
        scan = load_plan(layout, "captions").scan if task == "qa" else ""
        with measured():
            plan_task(config, layout, task, scan)
    else:
        settings = caption_settings(config, "bench", ours.STYLE)
        results = sorted(AnswerFiles(layout.captions_work(ours.STYLE.lower())).chunks.glob("*.jsonl"))
        merged = folder / "merged"
        with measured():
            merge_captions(
                list(map(str, results)),
                settings,
                dataset_path=config.section("captions").data_path,
                captions_path=str(merged / "captions.json"),
                failures_path=str(merged / "failures.json"),
                provenance_path=str(merged / "provenance.json"),
                statistics_path=str(merged / "statistics.json"),
            )


def measure(folder: Path, items: int) -> dict[str, float]:
    """The seconds of all stages for `items` items, and the peak MB of those that run in one process."""
    raw = prepare(folder, items)
    figures: dict[str, float] = {}

    def measure_stage(name: str) -> None:
        spent = figures_of(start([OURS, "-m", "bench.parts.scale", name, "--folder", str(folder)]))
        figures[f"{name} s"], figures[f"{name} MB"] = spent["wall_s"], spent["peak_mb"]

    def measure_workflow(name: str, *arguments: str) -> None:
        figures[f"{name} s"], figures[f"{name} CPU s"] = ours.run_workflow(folder, raw, *arguments)

    for name in PLANS:
        measure_stage(name)
    measure_workflow("dry run", "--dry-run", "--quiet", "all")
    write_results(folder)
    measure_stage("merge-captions")
    measure_workflow("workflow that merges")
    measure_workflow("no-op rerun")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=[*PLANS, "merge-captions"])
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    stage(options.stage, options.folder)


if __name__ == "__main__":
    main()
