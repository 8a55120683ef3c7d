"""Merging: the chunk results of a final file, checked against the configuration, into that file and its companions."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from captionqa.client.chunk_result import ChunkResults
from captionqa.config.settings import FALLBACK
from captionqa.dataset.question_file import INVALID
from captionqa.errors import ItemFailure, Reason, ResultError
from captionqa.files import atomic_writer, json_line, json_object_writer, read_json_lines, write_json
from captionqa.grading.choices import parse_choices
from captionqa.grading.ground_truth import GroundTruth
from captionqa.results.metrics import Tally
from captionqa.results.provenance import ItemCounts, file_digest, provenance
from captionqa.results.regrading import LastGrading, flips_line, grading, verdict

log = logging.getLogger(__name__)

_START_ANEW = "delete the chunks folder and run again, the answers are in the journal."


def merge_qa(
    chunks: Sequence[str],
    rows_path: str,
    settings: Mapping[str, Any],
    question_path: str,
    dataset_path: str,
    results_path: str,
    metrics_path: str,
    failures_path: str,
    provenance_path: str,
    flips_path: str,
    graded_path: str,
    relative_tolerance: float = 0,
) -> None:
    """Grade the answers by the rows of the question file and write {qid: record} and the metrics, with companions.

    `graded_path` keeps the grading for the next merge; the flips are what the last one graded otherwise. Raises
    ResultError for a chunk result that is not whole, was made under other settings or is of other questions.
    """
    results, counts, tally = ChunkResults(chunks, settings), ItemCounts(), Tally()
    last_grading, verdicts = LastGrading(graded_path), Counter()
    # entered first and so written last: a merge that was stopped compares with the same grading when it is repeated
    with atomic_writer(graded_path) as graded:
        with (
            json_object_writer(results_path) as add_record,
            json_object_writer(failures_path) as add_failure,
            json_object_writer(flips_path) as add_flip,
        ):
            for row, line in _joined(read_json_lines(rows_path), results.lines()):
                try:
                    record = qa_record(row, line, relative_tolerance)
                except ItemFailure as failure:
                    counts.add_failure(row["id"], failure.reason)
                    tally.add_failure(row, failure.reason)
                    add_failure(row["id"], {"reason": failure.reason, "detail": failure.detail})
                    continue
                counts.add_answer(row["id"], line["answer"], line["files"], shared="same_as" in line)
                tally.add_record(record)
                add_record(row["id"], record)
                now = grading(record)
                graded.write(json_line(now))
                if flip := last_grading.flip(now):
                    verdicts[verdict(flip)] += 1
                    add_flip(row["id"], flip)
        answered_by = counts.answered_by.values()
        metrics = {
            "model": settings["model"],
            **tally.metrics(),
            **(tally.fallback_metrics() if FALLBACK in settings else {}),
            "relative_tolerance": relative_tolerance,
            "question_path": question_path,
            "dataset_path": dataset_path,
            "server_url": answered_by[0]["url"] if answered_by else None,
        }
        write_json(metrics_path, metrics)
        made = provenance(results.headers, counts, settings, dataset_path)
        with open(rows_path, "rb") as rows:
            made["question_file"] = {"path": question_path, "fingerprint": file_digest(rows)}
        write_json(provenance_path, made)
    if verdicts:
        log.info("%s: %s", flips_line(verdicts, counts.answered), flips_path)


def qa_record(row: Mapping[str, Any], line: Mapping[str, Any] | None, relative_tolerance: float = 0) -> dict[str, Any]:
    """The result record of a question, from its row and its line in a chunk result; raises ItemFailure if it has none.

    A row that could not be asked has no line.
    """
    if INVALID in row:
        raise ItemFailure(Reason.INVALID_QUESTION, row[INVALID])
    if "failure" in line:
        raise ItemFailure(line["failure"], line["detail"])
    answer, choices = line["answer"], parse_choices(row["question"])
    truth = GroundTruth.read(row["answer"], choices)
    if truth.fault:
        raise ItemFailure(Reason.UNGRADABLE_GROUND_TRUTH, truth.fault)
    graded = truth.grade(answer["text"], relative_tolerance)
    record = {
        "qid": row["id"],
        "question": row["question"],
        "choices": choices,
        "gt_answer": row["answer"],
        "gt_letter": truth.letter,
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
    if truth.letter and not graded.parsed and FALLBACK in line:
        # None where it failed; a server that does not know structured outputs answers as it likes
        fallback = truth.grade(line[FALLBACK].get("text", ""))
        record |= {"fallback_letter": fallback.predicted_letter, "fallback_is_correct": fallback.is_correct}
    return record


def _joined(
    rows: Iterator[dict[str, Any]], lines: Iterator[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each row of the question file with its line, None for a row that could not be asked; all are sorted by id.

    Raises ResultError for a row without a line and the reverse.
    """
    for row in rows:
        line = None
        if INVALID not in row:
            line = next(lines, None)
            if line is None or line["id"] > row["id"]:
                raise ResultError(f"the question {row['id']!r} is in no chunk result; {_START_ANEW}")
            if line["id"] < row["id"]:
                raise _no_question(line)
        yield row, line
    for line in lines:
        raise _no_question(line)


def _no_question(line: Mapping[str, Any]) -> ResultError:
    return ResultError(f"{line['id']!r} is in a chunk result and no present question; {_START_ANEW}")
