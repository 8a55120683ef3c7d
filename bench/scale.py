"""A million items: time and peak memory of planning and merging, and the workflow's own time around them.

python -m bench.scale plan-captions --folder FOLDER        one stage in a folder that `prepare` wrote
"""

import argparse
from pathlib import Path
from typing import Any

from captionqa.client.chunk_result import FORMAT, write_chunk
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings, fingerprint
from captionqa.dataset.final_files import final_files
from captionqa.dataset.plan import load_plan
from captionqa.dataset.planning import plan_task
from captionqa.files import read_json_lines, write_json
from captionqa.results.captions import merge_captions

from bench import clients, ours
from bench.meter import measured

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
PLANS = {"plan-captions": "captions", "plan-questions": "qa"}


def prepare(folder: Path, items: int) -> dict[str, Any]:
    """Write `items` empty image files and as many questions on them; returns the configuration of both."""
    import pandas as pd  # here, since the stages, whose memory is measured, import this module too

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
    answer = {"finish_reason": "stop", "prompt_tokens": 300, "completion_tokens": 160}
    answer["server"] = {"url": NO_SERVER, "generation": 1}
    for task, text in (("captions", CAPTION), ("qa", ANSWER)):
        plan = load_plan(layout, task)
        (file,) = final_files(config, layout, task)
        settings, results = file.settings, file.results(config, layout)
        for (_, _, count), listed, result in zip(plan.chunks, plan.item_lists(layout, task), results, strict=True):
            header = {"format": FORMAT, "chunk": Path(result).name, "settings": settings, "items": count}
            header |= {"fingerprint": fingerprint(settings), "asked": count, "shared": 0, "known": 0, "failed": 0}
            header |= {"started": 0.0, "finished": 1.0, "client": {"host": "bench", "job": None}, "servers": []}
            outcome = {"answer": {"text": text, **answer}, "files": ["0" * 24]}
            lines = sorted(read_json_lines(listed), key=lambda item: item["id"])
            write_chunk(result, header, ({"id": item["id"], **outcome} for item in lines))
        write_json(layout.released(task), {"servers": []})
    write_json(layout.sentinel, [])


def stage(name: str, folder: Path) -> None:
    """Run one stage in this process and print its time and peak memory."""
    config, _ = ours.load(folder)
    layout = Layout(config.output_dir, "bench")
    if name in PLANS:
        task = PLANS[name]
        scan = (
            load_plan(layout, "captions").scan if task == "qa" else ""
        )  # as in the workflow, where both tasks have the same images
        with measured():
            plan_task(config, layout, task, scan)
    else:
        settings = caption_settings(config, "bench", ours.STYLE)
        results = sorted(AnswerFiles(layout.captions_work(ours.STYLE.lower())).chunks.glob("*.jsonl"))
        targets = [
            str(folder / "merged" / f"{kind}.json") for kind in ("captions", "failures", "provenance", "statistics")
        ]
        with measured():
            merge_captions(list(map(str, results)), settings, config.captions.dataset_path, *targets)


def measure(folder: Path, items: int) -> dict[str, float]:
    """The seconds of all stages for `items` items, and the peak MB of those that run in one process."""
    raw = prepare(folder, items)
    figures: dict[str, float] = {}

    def measure_stage(name: str) -> None:
        spent = clients.figures_of(clients.start([clients.OURS, "-m", "bench.scale", name, "--folder", str(folder)]))
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
