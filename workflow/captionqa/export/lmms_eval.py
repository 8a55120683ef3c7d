"""Graded answers as the samples of lmms-eval, beside the results file that its viewer begins with.

The files are those of `EvaluationTracker.save_results_samples` of EvolvingLMMs-Lab/lmms-eval: MODEL/DATE_results.json
and MODEL/DATE_samples_TASK.jsonl, one line for each sample. Its `baselines/loader.py` takes `doc_id`, and the first
number whose key has "score" in it, else compares `target` with `filtered_resps`; its viewer shows `input`, `target` and
`filtered_resps`, and pages by `doc_id`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from captionqa.export.answer_stream import GradedAnswer
from captionqa.export.asked_order import as_asked
from captionqa.export.json_text import json_text
from captionqa.export.target import Target
from captionqa.files import write_json
from captionqa.reasoning import split_reasoning
from captionqa.results.metrics import QaMetrics
from captionqa.results.provenance import Provenance

#: The name of the task, which stands in the samples' file name.
TASK = "captionqa"


def write_lmms_eval(
    answers: Iterable[GradedAnswer], target: Target, metrics: QaMetrics, provenance: Provenance
) -> None:
    """Write one file of samples, which its readers cannot take in parts, and the results."""
    model = provenance["settings"]["model"]
    date = datetime.fromisoformat(provenance["finished"]).strftime("%Y%m%d_%H%M%S")
    folder = target.folder / model
    folder.mkdir()
    number = 0
    with open(folder / f"{date}_samples_{TASK}.jsonl", "w", encoding="utf-8") as file:
        for number, answer in enumerate(answers, 1):
            file.write(json_text(_sample(number - 1, answer)) + "\n")
    write_json(folder / f"{date}_results.json", _results(metrics, provenance, number, date))


def _sample(number: int, graded: GradedAnswer) -> Mapping[str, Any]:
    record, answer = graded.record, graded.answer
    asked = as_asked(record)
    target = asked.truth_letter or record["gt_answer"] or ""
    # lmms-eval, too, takes the reasoning away before it scores
    filtered = asked.predicted_letter or split_reasoning(record["model_output"])[1] or ""
    sample: dict[str, Any] = {"doc_id": number, "target": str(target), "filtered_resps": filtered}
    if filtered != record["model_output"]:  # lmms-eval leaves out what is the same
        sample["resps"] = [record["model_output"]]
    return sample | {
        "token_counts": [{"input_tokens": answer["prompt_tokens"], "output_tokens": answer["completion_tokens"]}],
        "doc_hash": _hash(record["qid"], record["question"], str(record["gt_answer"])),
        "input": asked.question,
        "image_paths": record["image_paths"],
        "score": record["score"],
        "qid": record["qid"],
        "category": record["category"],
        "source": record["source"],
        "rule": record["graded_by"],
    }


def _results(metrics: QaMetrics, provenance: Provenance, samples: int, date: str) -> Mapping[str, Any]:
    settings = provenance["settings"]
    return {
        "results": {
            TASK: {
                "alias": TASK,
                "accuracy,none": metrics["overall_accuracy"],
                "mean_score,none": metrics["mean_score"],
            }
        },
        "n-samples": {TASK: {"original": metrics["total_questions"], "effective": samples}},
        "config": {
            "model": settings["model"],
            "model_args": settings["model_path"],
            "gen_kwargs": settings["sampling"],
        },
        "model_name": settings["model"],
        "date": date,
    }


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
