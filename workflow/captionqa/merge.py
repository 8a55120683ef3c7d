"""Merging: the chunk results of a final file, checked against the configuration, into that file and its companions."""

from collections.abc import Mapping, Sequence
from typing import Any

from captionqa.errors import TooManyFailuresError
from captionqa.files import json_object_writer, read_json, write_json
from captionqa.grading import grade, ground_truth_letter
from captionqa.metrics import Tally
from captionqa.provenance import ItemCounts, provenance
from captionqa.questions import parse_choices
from captionqa.results import ChunkResults


def merge_captions(
    chunks: Sequence[str],
    settings: Mapping[str, Any],
    dataset_path: str,
    captions_path: str,
    failures_path: str,
    provenance_path: str,
) -> None:
    """Write {image: caption}, sorted by image, with the failures and the provenance.

    Raises ResultError for a chunk result that is not whole or was made under other settings.
    """
    results, counts = ChunkResults(chunks, settings), ItemCounts()
    with json_object_writer(captions_path) as add_caption, json_object_writer(failures_path) as add_failure:
        for line in results.lines():
            if "answer" in line:
                counts.add_answer(line["id"], line["answer"])
                add_caption(line["id"], line["answer"]["text"])
            else:
                counts.add_failure(line["id"], line["failure"])
                add_failure(line["id"], {"reason": line["failure"], "detail": line["detail"]})
    write_json(provenance_path, provenance(results.headers, counts, settings, dataset_path))


def merge_qa(
    chunks: Sequence[str],
    settings: Mapping[str, Any],
    question_path: str,
    dataset_path: str,
    results_path: str,
    metrics_path: str,
    failures_path: str,
    provenance_path: str,
) -> None:
    """Grade the answers and write {qid: record} and the metrics, with the failures and the provenance.

    Raises ResultError for a chunk result that is not whole or was made under other settings.
    """
    results, counts, tally = ChunkResults(chunks, settings), ItemCounts(), Tally()
    with json_object_writer(results_path) as add_record, json_object_writer(failures_path) as add_failure:
        for line in results.lines():
            if "answer" in line:
                record = qa_record(line)
                counts.add_answer(line["id"], line["answer"])
                tally.add_record(record)
                add_record(line["id"], record)
            else:
                counts.add_failure(line["id"], line["failure"])
                tally.add_failure(line["row"], line["failure"])
                add_failure(line["id"], {"reason": line["failure"], "detail": line["detail"]})
    answered_by = counts.answered_by.values()
    metrics = {
        "model": settings["model"],
        **tally.metrics(),
        "question_path": question_path,
        "dataset_path": dataset_path,
        "server_url": answered_by[0]["url"] if answered_by else None,
    }
    write_json(metrics_path, metrics)
    write_json(provenance_path, provenance(results.headers, counts, settings, dataset_path))


def qa_record(line: Mapping[str, Any]) -> dict[str, Any]:
    """The result record of one answered question."""
    row, answer = line["row"], line["answer"]
    choices = parse_choices(row["question"])
    graded = grade(answer["text"], row["answer"], choices)
    return {
        "qid": row["id"],
        "question": row["question"],
        "choices": choices,
        "gt_answer": row["answer"],
        "gt_letter": ground_truth_letter(row["answer"], choices),
        "predicted_letter": graded.predicted_letter,
        "model_output": answer["text"],
        "is_correct": graded.is_correct,
        "category": row["category"],
        "source": row["source"],
        "image_paths": row["images"],
        "num_images": len(row["images"]),
        "graded_by": graded.rule,
        "is_parsed": graded.parsed,
        "refused": graded.refused,
        "truncated": answer["finish_reason"] == "length",
    }


def check_failures(failures_path: str, provenance_path: str, max_failed_fraction: float) -> None:
    """Raise TooManyFailuresError where more than the allowed share of a final file's items failed."""
    counts = read_json(provenance_path)["counts"]
    if counts["failed"] > max_failed_fraction * counts["items"]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts["failures_by_reason"].items())
        raise TooManyFailuresError(
            f"{counts['failed']} of {counts['items']} items failed ({reasons}), more than client.max_failed_fraction = "
            f"{max_failed_fraction:g} allows; each is named in {failures_path}. The final file is there without them: "
            "`make retry-failed` and a new run ask for them again, a higher max_failed_fraction accepts them."
        )
