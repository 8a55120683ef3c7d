"""Merging answers: chunk results and the question rows become the QA results, the metrics and their companions."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from captionqa.client.chunk_result import ChunkResults, ResultLine, read_chunk
from captionqa.config.contexts import IMAGES, Context
from captionqa.config.settings import FALLBACK, AnswerSettings
from captionqa.dataset.question_repeats import question_of, repeat_of, repeats_of, shown_id
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.errors import ItemFailure, ResultError
from captionqa.files import json_line, json_object_writer, large_file_writer, read_json_lines, write_json
from captionqa.grading.scoring import GradingRules
from captionqa.results.captionqa_metrics import ProtocolTally, WithProtocol
from captionqa.results.made_from import made_from
from captionqa.results.metrics import InContext, QaMetrics, Tally, WithFallback
from captionqa.results.provenance import CaptionSource, ItemCounts, file_digest, provenance
from captionqa.results.qa_record import qa_record
from captionqa.results.regrading import LastGrading, flip_kind, flips_line, grading_line
from captionqa.results.repeat_metrics import RepeatTally
from captionqa.results.repeat_records import WithRepeats
from captionqa.results.repeated_question import repeated_record

log = logging.getLogger(__name__)

_START_ANEW = "run again, the answers are in the journal."


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
    protocol, repeats = ProtocolTally(), RepeatTally()
    last_grading = LastGrading(graded_path)
    flip_kinds: Counter[str] = Counter()
    # entered first and so written last: a merge that is stopped and repeated compares with the same last grading
    with large_file_writer(graded_path) as graded:
        with (
            json_object_writer(results_path) as add_record,
            json_object_writer(failures_path) as add_failure,
            json_object_writer(flips_path) as add_flip,
        ):
            for row, lines in _joined(read_json_lines(rows_path), results.lines(), chunks):
                answers = [line for line in lines if "answer" in line]
                try:
                    if "repeats" in row and "invalid" not in row:
                        record = repeated_record(row, lines, rules, settings["sampling"])
                    else:
                        record = qa_record(row, lines[0], rules)
                except ItemFailure as failure:
                    for line in answers:
                        counts.add_request(line["answer"], shared="same_as" in line)
                        _count_fallback(counts, line)
                    if "repeats" in row and "invalid" not in row:
                        repeats.add_failure(len(answers), len(lines) - len(answers), row["answer"] is not None)
                    counts.add_failure(row["id"], failure.reason)
                    tally.add_failure(row, failure.reason)
                    protocol.add_failure(row)
                    add_failure(row["id"], {"reason": failure.reason, "detail": failure.detail})
                    continue
                if context != IMAGES:
                    record["context"] = context.name
                decided = record.get("decided_by", {"round": 1, "sample": 1})
                for line in lines:
                    if repeat_of(line["id"]) == (decided["round"], decided["sample"]):
                        counts.add_answer(row["id"], line["answer"], line["files"], shared="same_as" in line)
                    else:
                        counts.add_request(line["answer"], shared="same_as" in line)
                    _count_fallback(counts, line)
                tally.add_record(record)
                repeats.add_record(record)
                # the published evaluation asks once
                protocol.add_record(record if "repeats" not in row else qa_record(row, lines[0], rules))
                add_record(row["id"], record)
                now = grading_line(record)
                graded.write(json_line(now))
                if flip := last_grading.flip(now):
                    flip_kinds[flip_kind(flip)] += 1
                    add_flip(row["id"], flip)
            counts.check_one_model(chunks)
        metrics = _metrics(tally, protocol, repeats, counts, settings, rules, question_path, dataset_path, context)
        write_json(metrics_path, metrics)
        described = provenance(results.headers, counts, settings, dataset_path, hub_commits)
        described["made_from"] = made_from(chunks, asdict(rules))
        with open(rows_path, "rb") as rows:
            described["question_file"] = {"path": question_path, "fingerprint": file_digest(rows)}
        if captions is not None:
            described["captions"] = captions
        write_json(provenance_path, described)
    if flip_kinds:
        log.info("%s: %s", flips_line(flip_kinds, counts.answered), flips_path)


def _count_fallback(counts: ItemCounts, line: ResultLine) -> None:
    """Count the request for an answer's letter alone, where there was one and it was answered."""
    reply = line.get("fallback")
    if reply and "text" in reply:
        counts.add_request(reply, shared="same_as" in line)


def _metrics(
    tally: Tally,
    protocol: ProtocolTally,
    repeats: RepeatTally,
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
    repeated = repeats.metrics()
    of_repeats: WithRepeats = {} if repeated is None else {"repeats": repeated}
    named: InContext = {} if context == IMAGES else {"context": context.name}
    return {
        "model": settings["model"],
        **named,
        **tally.metrics(),
        **fallback,
        **by_protocol,
        **of_repeats,
        **tally.thinking_metrics(),
        "scoring": rules.scoring,
        "answer_is": rules.answer_is,
        "relative_tolerance": rules.tolerance,
        "question_path": question_path,
        "dataset_path": dataset_path,
        "server_url": str(answered_by[0]["url"]) if answered_by else None,
    }


def _joined(
    rows: Iterator[QuestionRow | InvalidRow], lines: Iterator[ResultLine], chunks: Sequence[str]
) -> Iterator[tuple[QuestionRow | InvalidRow, list[ResultLine]]]:
    """Yield each question row with the lines of its items, in their order; all rows and lines are sorted by id.

    An invalid row has one line without an outcome. `chunks` are the results that the lines are from.

    Raises:
        ResultError: an item of a row has no line, or a line no row.
    """
    line = next(lines, None)
    for row in rows:
        if "invalid" in row:
            yield row, [{"id": row["id"]}]
            continue
        found: dict[str, ResultLine] = {}
        while line is not None and question_of(line["id"]) == row["id"]:
            found[line["id"]] = line
            line = next(lines, None)
        wanted = [repeat.id for repeat in repeats_of(row["id"], row.get("repeats"))]
        if missing := next((item for item in wanted if item not in found), None):
            if line is not None and line["id"] < missing:
                raise _no_question(line, chunks)
            folder = Path(chunks[0]).parent
            raise ResultError(
                f"the question {shown_id(missing)!r} is in no chunk result; delete {folder} and {_START_ANEW}"
            )
        if further := found.keys() - set(wanted):
            raise _no_question(found[min(further)], chunks)
        yield row, [found[item] for item in wanted]
    if line is not None:
        raise _no_question(line, chunks)


def _no_question(line: ResultLine, chunks: Sequence[str]) -> ResultError:
    """That a line of one of these chunk results, which are read again to tell of which, is of no question."""
    path = next(path for path in chunks if any(other["id"] == line["id"] for other in read_chunk(path)[1]))
    return ResultError(
        f"{path} has {shown_id(line['id'])!r}, which is no present question; delete it and {_START_ANEW}"
    )
