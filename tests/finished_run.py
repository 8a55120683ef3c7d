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
from captionqa.results.answer_sets import answer_sets
from captionqa.results.captions import merge_captions
from captionqa.results.comparison_files import write_comparison
from captionqa.results.judge_items import write_judge_items
from captionqa.results.judged import JudgedPaths, merge_judged
from captionqa.results.provenance import caption_source
from captionqa.results.qa import merge_qa

SERVER = {"url": "http://node:8000", "generation": 1, "vllm": "1.2"}


def finish_run(config: Config, answers, begin_s=1_700_000_000.0, chunk_s=100.0, merged=True) -> Layout:
    """Plan and merge all tasks of all data sets.

    Chunks begin one after another, `chunk_s / 4` seconds apart, and take `chunk_s`.

    `merged` is whether the final files are written, too. An answer of None leaves its chunk unfinished.

    `answers(work folder's name, entry of the item list)` gives a text, (text, finish reason) or {failure, detail}.
    """
    layout = config.layout()
    for each, of_data in config.by_data_set(layout):
        _finish_data_set(each, of_data, answers, begin_s, chunk_s, merged)
    if merged and len(sets := answer_sets(config, layout)) > 1:
        write_comparison(sets, *(layout.comparison(ending) for ending in ("json", "csv", "md")))
    return layout


def _finish_data_set(config, layout, answers, begin_s, chunk_s, merged):
    for task in config.tasks:
        plan = plan_task(config, layout, task)
        of_models = layout.of_models(config.model_names)
        for of_model, file in ((each, file) for each in of_models for file in final_files(config, each, task)):
            work, settings, paths = file.files.folder, file.settings, file.results(config, of_model)
            for number, (path, items) in enumerate(zip(paths, plan.item_lists(layout, task), strict=True)):
                said = [(entry, answers(Path(work).name, entry)) for entry in read_json_lines(items)]
                if any(answer is None for _, answer in said):
                    continue
                _write_chunk(path, settings, said, begin_s + number * chunk_s / 4, chunk_s)
            if merged:
                _merge(config, of_model, file, paths)


def judge_run(config: Config, says) -> None:
    """Have the judge of a finished run say `says(entry of the item list)`, as in `finish_run`."""
    for each, layout in config.by_data_set(config.layout(config.any_judge.model)):
        for file in final_files(each, layout, "judge"):
            answers, paths = file.judged, file.results(each, layout)
            rows = layout.question_rows(answers.plan().rows)
            write_judge_items(answers, answers.path("results"), rows, answers.index)
            for path, items in zip(paths, file.item_lists(layout), strict=True):
                said = [(entry, says(entry)) for entry in read_json_lines(items)]
                _write_chunk(path, file.settings, said, 1_700_001_000.0, 1.0)
            kinds = {kind: answers.path(f"judge_{kind}") for kind in ("metrics", "failures", "provenance")}
            merge_judged(answers, paths, file.settings, JudgedPaths(judged=answers.path("judged"), **kinds))


def _write_chunk(path, settings, said, begin_s, chunk_s):
    lines = [_line(entry, answer) for entry, answer in said]
    header = {
        "format": FORMAT,
        "chunk": Path(path).name,
        "fingerprint": fingerprint(settings),
        "settings": settings,
        "items": len(lines),
        "asked": len(lines),
        "started": begin_s,
        "finished": begin_s + chunk_s,
        "client": {"host": "node", "job": None},
        "servers": [],
    }
    write_chunk(path, header, sorted(lines, key=lambda line: line["id"]))


def _line(entry, answer):
    if isinstance(answer, dict):
        return {"id": entry["id"], **answer}
    text, reason = answer if isinstance(answer, tuple) else (answer, "stop")
    tokens = {"prompt_tokens": 10, "completion_tokens": 5}
    files = [str(stamp) for stamp in entry.get("stamps", ())]
    return {
        "id": entry["id"],
        "answer": {"text": text, "finish_reason": reason, **tokens, "server": SERVER},
        "files": files,
    }


def _merge(config, layout, file, paths):
    if file.task == "captions":
        made = (file.path, file.failures, file.provenance, file.path.replace(".json", "_statistics.json"))
        merge_captions(paths, file.settings, config.captions.dataset_path, *made)
        return
    rows, suffix = layout.question_rows(load_plan(layout, "qa").rows), file.context.suffix
    files = [layout.qa(kind, suffix) for kind in ("results", "metrics", "failures", "provenance", "flips")]
    captions, data = (
        caption_source(config, layout.model, file.context),
        (config.qa.question_path, config.qa.dataset_path),
    )
    graded, rules = layout.graded(suffix), GradingRules()
    merge_qa(paths, rows, file.settings, *data, *files, graded, rules, context=file.context, captions=captions)
