"""Merging: the chunk results of a final file, checked against the configuration, into that file and its companions."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from captionqa.errors import ResultError, TooManyFailuresError
from captionqa.files import read_json, read_json_lines, write_json, write_json_object
from captionqa.grading import grade, ground_truth_letter
from captionqa.metrics import Tally
from captionqa.provenance import provenance
from captionqa.questions import parse_choices
from captionqa.settings import fingerprint


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
    headers, lines = _read(chunks, settings)
    write_json_object(captions_path, ((line["id"], line["answer"]["text"]) for line in lines if "answer" in line))
    _write_companions(headers, lines, settings, dataset_path, failures_path, provenance_path)


def merge_qa(
    chunks: Sequence[str],
    settings: Mapping[str, Any],
    question_path: str,
    dataset_path: str,
    results_path: str,
    metrics_path: str,
    failures_path: str,
    provenance_path: str,
    relative_tolerance: float = 0,
) -> None:
    """Grade the answers and write {qid: record} and the metrics, with the failures and the provenance.

    Raises ResultError for a chunk result that is not whole or was made under other settings.
    """
    headers, lines = _read(chunks, settings)
    tally = Tally()

    def records() -> Iterator[tuple[str, dict[str, Any]]]:
        for line in lines:
            if "answer" in line:
                record = qa_record(line, relative_tolerance)
                tally.add_record(record)
                yield line["id"], record
            else:
                tally.add_failure(line["row"], line["failure"])

    write_json_object(results_path, records())
    metrics = {
        "model": settings["model"],
        **tally.metrics(),
        "question_path": question_path,
        "dataset_path": dataset_path,
        "server_url": next((line["answer"]["server"]["url"] for line in lines if "answer" in line), None),
    }
    write_json(metrics_path, metrics)
    _write_companions(headers, lines, settings, dataset_path, failures_path, provenance_path)


def qa_record(line: Mapping[str, Any], relative_tolerance: float = 0) -> dict[str, Any]:
    """The result record of one answered question."""
    row, answer = line["row"], line["answer"]
    choices = parse_choices(row["question"])
    graded = grade(answer["text"], row["answer"], choices, relative_tolerance)
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


def read_chunk(path: str | Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """A chunk result's header and an iterator over its lines."""
    lines = read_json_lines(path)
    header = next(lines, None)
    if not isinstance(header, dict) or "fingerprint" not in header:
        raise ResultError(f"{path} is no chunk result; delete it and run again, its answers are in the journal.")
    return header, lines


def _read(chunks: Sequence[str], settings: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All headers, and all lines sorted by id, each there once."""
    wanted = fingerprint(settings)
    headers: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for path in chunks:
        header, found = read_chunk(path)
        if header["fingerprint"] != wanted:
            raise ResultError(
                f"{path} was made with other settings ({header['fingerprint']}, now {wanted}); run the workflow again "
                "with the present configuration."
            )
        before = len(lines)
        lines.extend(found)
        if len(lines) - before != header["items"]:
            raise ResultError(
                f"{path} holds {len(lines) - before} of its {header['items']} items; delete it and run again, its "
                "answers are in the journal."
            )
        headers.append(header)
    lines.sort(key=lambda line: line["id"])
    for line, following in pairwise(lines):
        if line["id"] == following["id"]:
            raise ResultError(
                f"the item {line['id']!r} is in two chunk results; delete the chunks folder and run again."
            )
    return headers, lines


def _write_companions(
    headers: Sequence[dict[str, Any]],
    lines: Sequence[dict[str, Any]],
    settings: Mapping[str, Any],
    dataset_path: str,
    failures_path: str,
    provenance_path: str,
) -> None:
    failures = {
        line["id"]: {"reason": line["failure"], "detail": line["detail"]} for line in lines if "failure" in line
    }
    write_json(failures_path, failures)
    write_json(provenance_path, provenance(headers, lines, settings, dataset_path))
