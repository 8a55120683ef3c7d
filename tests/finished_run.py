"""The output folder of a finished run whose answers a test chose, planned and merged without a server."""

from pathlib import Path

from captionqa.client.chunk_result import FORMAT, write_chunk
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import fingerprint
from captionqa.dataset.final_files import final_files
from captionqa.dataset.plan import load_plan
from captionqa.dataset.planning import plan_task
from captionqa.files import read_json_lines
from captionqa.grading.scoring import GradingRules
from captionqa.results.captions import merge_captions
from captionqa.results.qa import merge_qa

SERVER = {"url": "http://node:8000", "generation": 1, "vllm": "1.2"}


def finish_run(config: Config, answers) -> Layout:
    """Plan and merge all tasks.

    `answers(work folder's name, entry of the item list)` gives a text, (text, finish reason) or {failure, detail}.
    """
    layout = Layout(config.output_dir, config.model_name)
    for task in config.tasks:
        plan = plan_task(config, layout, task)
        for file in final_files(config, layout, task):
            work, settings, paths = file.files.folder, file.settings, file.results(config, layout)
            for path, items in zip(paths, plan.item_lists(layout, task), strict=True):
                lines = [_line(entry, answers(Path(work).name, entry)) for entry in read_json_lines(items)]
                header = {
                    "format": FORMAT,
                    "chunk": Path(path).name,
                    "fingerprint": fingerprint(settings),
                    "settings": settings,
                    "items": len(lines),
                    "started": 1_700_000_000.0,
                    "finished": 1_700_000_100.0,
                    "client": {"host": "node", "job": None},
                    "servers": [],
                }
                write_chunk(path, header, sorted(lines, key=lambda line: line["id"]))
            _merge(config, layout, task, work, settings, paths)
    return layout


def _line(entry, answer):
    if isinstance(answer, dict):
        return {"id": entry["id"], **answer}
    text, reason = answer if isinstance(answer, tuple) else (answer, "stop")
    tokens = {"prompt_tokens": 10, "completion_tokens": 5}
    files = [str(stamp) for stamp in entry["stamps"]]
    return {
        "id": entry["id"],
        "answer": {"text": text, "finish_reason": reason, **tokens, "server": SERVER},
        "files": files,
    }


def _merge(config, layout, task, work, settings, paths):
    if task == "captions":
        style = Path(work).name
        files = [layout.captions(style, suffix) for suffix in ("", "_failures", "_provenance")]
        merge_captions(paths, settings, config.captions.dataset_path, *files)
        return
    rows = layout.question_rows(load_plan(layout, "qa").rows)
    files = [layout.qa(kind) for kind in ("results", "metrics", "failures", "provenance", "flips")]
    rules = GradingRules()
    data = config.qa.question_path, config.qa.dataset_path
    merge_qa(paths, rows, settings, *data, *files, layout.graded(), rules)
