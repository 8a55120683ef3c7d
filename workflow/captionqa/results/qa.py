"""Merging answers: chunk results and the question rows become the QA results, the metrics and their companions."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from captionqa.client.chunk_result import ChunkResults, ResultLine
from captionqa.config.contexts import IMAGES, Context
from captionqa.config.settings import FALLBACK, AnswerSettings
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.errors import ItemFailure, ResultError
from captionqa.files import atomic_writer, json_line, json_object_writer, read_json_lines, write_json
from captionqa.grading.scoring import GradingRules
from captionqa.results.captionqa_metrics import ProtocolTally, WithProtocol
from captionqa.results.metrics import InContext, QaMetrics, Tally, WithFallback
from captionqa.results.provenance import CaptionSource, ItemCounts, file_digest, provenance
from captionqa.results.qa_record import qa_record
from captionqa.results.regrading import LastGrading, flip_kind, flips_line, grading_line

log = logging.getLogger(__name__)

_START_ANEW = "delete the chunks folder and run again, the answers are in the journal."


def merge_qa(
    chunks: Sequence[str],
    rows_path: str,
    settings: AnswerSettings,
    question_path: str | Sequence[str],
    dataset_path: str,
    results_path: str,
    metrics_path: str,
    failures_path: str,
    provenance_path: str,
    flips_path: str,
    graded_path: str,
    rules: GradingRules,
    hub_commits: Mapping[str, str] | None = None,
    context: Context = IMAGES,
    captions: CaptionSource | None = None,
) -> None:
    """Grade the answers by the question rows, and write {qid: record}, the metrics and the other companions.

    `graded_path` keeps the grading for the next merge; the flips are the answers that the last merge graded otherwise.

    Raises:
        ResultError: a chunk result is incomplete, or was made under other settings or for other questions, or the
            answers are of two models.
    """
    results, counts, tally = ChunkResults(chunks, settings), ItemCounts(), Tally()
    protocol = ProtocolTally()
    last_grading = LastGrading(graded_path)
    flip_kinds: Counter[str] = Counter()
    # entered first and so written last: a merge that is stopped and repeated compares with the same last grading
    with atomic_writer(graded_path) as graded:
        with (
            json_object_writer(results_path) as add_record,
            json_object_writer(failures_path) as add_failure,
            json_object_writer(flips_path) as add_flip,
        ):
            for row, line in _joined(read_json_lines(rows_path), results.lines()):
                try:
                    record = qa_record(row, line, rules)
                except ItemFailure as failure:
                    counts.add_failure(row["id"], failure.reason)
                    tally.add_failure(row, failure.reason)
                    protocol.add_failure(row)
                    add_failure(row["id"], {"reason": failure.reason, "detail": failure.detail})
                    continue
                if context != IMAGES:
                    record["context"] = context.name
                counts.add_answer(row["id"], line["answer"], line["files"], shared="same_as" in line)
                tally.add_record(record)
                protocol.add_record(record)
                add_record(row["id"], record)
                now = grading_line(record)
                graded.write(json_line(now))
                if flip := last_grading.flip(now):
                    flip_kinds[flip_kind(flip)] += 1
                    add_flip(row["id"], flip)
            counts.check_one_model(chunks)
        metrics = _metrics(tally, protocol, counts, settings, rules, question_path, dataset_path, context)
        write_json(metrics_path, metrics)
        described = provenance(results.headers, counts, settings, dataset_path, hub_commits)
        with open(rows_path, "rb") as rows:
            described["question_file"] = {"path": question_path, "fingerprint": file_digest(rows)}
        if captions is not None:
            described["captions"] = captions
        write_json(provenance_path, described)
    if flip_kinds:
        log.info("%s: %s", flips_line(flip_kinds, counts.answered), flips_path)


def _metrics(
    tally: Tally,
    protocol: ProtocolTally,
    counts: ItemCounts,
    settings: AnswerSettings,
    rules: GradingRules,
    question_path: str | Sequence[str],
    dataset_path: str,
    context: Context,
) -> QaMetrics:
    answered_by = counts.answered_by.values()
    fallback: WithFallback = {"fallback": tally.fallback_metrics()} if FALLBACK in settings else {}
    figures = protocol.metrics()
    by_protocol: WithProtocol = {} if figures is None else {"captionqa": figures}
    named: InContext = {} if context == IMAGES else {"context": context.name}
    return {
        "model": settings["model"],
        **named,
        **tally.metrics(),
        **fallback,
        **by_protocol,
        "scoring": rules.scoring,
        "answer_is": rules.answer_is,
        "relative_tolerance": rules.tolerance,
        "question_path": question_path,
        "dataset_path": dataset_path,
        "server_url": str(answered_by[0]["url"]) if answered_by else None,
    }


def _joined(
    rows: Iterator[QuestionRow | InvalidRow], lines: Iterator[ResultLine]
) -> Iterator[tuple[QuestionRow | InvalidRow, ResultLine]]:
    """Yield each question row with its line, for an invalid row one without an outcome; all are sorted by id.

    Raises:
        ResultError: a row has no line, or a line no row.
    """
    for row in rows:
        if "invalid" in row:
            yield row, {"id": row["id"]}
            continue
        line = next(lines, None)
        if line is None or line["id"] > row["id"]:
            raise ResultError(f"the question {row['id']!r} is in no chunk result; {_START_ANEW}")
        if line["id"] < row["id"]:
            raise _no_question(line)
        yield row, line
    for line in lines:
        raise _no_question(line)


def _no_question(line: ResultLine) -> ResultError:
    return ResultError(f"{line['id']!r} is in a chunk result and no present question; {_START_ANEW}")
