"""A question that is asked more than once: its answers, each graded by itself, become one record."""

from collections.abc import Mapping, Sequence

from captionqa.client.chunk_result import ResultLine
from captionqa.config.repeats import sample_seed
from captionqa.dataset.question_repeats import Repeat, repeats_of
from captionqa.dataset.question_row import QuestionRow
from captionqa.errors import ItemFailure
from captionqa.grading.scoring import GradingRules
from captionqa.grading.vote import ballot, plurality, stated_vote
from captionqa.results.qa_record import QaRecord, qa_record
from captionqa.results.repeat_records import DecidedBy, DecisionRule, RepeatRecord

Sampling = Mapping[str, float | None]


def repeated_record(row: QuestionRow, lines: Sequence[ResultLine], rules: GradingRules, sampling: Sampling) -> QaRecord:
    """The record of a question by the lines of all its items, in their order.

    Raises:
        ItemFailure: as for `qa_record`, by the first item that has no answer.
    """
    repeats = list(repeats_of(row["id"], row["repeats"]))
    records = [_record(row, line, rules, repeat) for line, repeat in zip(lines, repeats, strict=True)]
    rounds = [_repeat_record(record, repeat, sampling) for record, repeat in zip(records, repeats, strict=True)]
    decide = _right_in_each if row["repeats"].get("circular") else _by_majority
    record, decided_by = decide(records, repeats)
    record["rounds"], record["decided_by"] = rounds, decided_by
    return record


def _record(row: QuestionRow, line: ResultLine, rules: GradingRules, repeat: Repeat) -> QaRecord:
    try:
        return qa_record(row, line, rules, repeat.order)
    except ItemFailure as failure:
        if "failure" not in line:  # a fault of the question
            raise
        where = f"round {repeat.round}, sample {repeat.sample}"
        raise ItemFailure(failure.reason, f"{where}: {failure.detail}") from failure


def _repeat_record(record: QaRecord, repeat: Repeat, sampling: Sampling) -> RepeatRecord:
    made: RepeatRecord = {
        "round": repeat.round,
        "sample": repeat.sample,
        "seed": sample_seed(sampling, repeat.sample),
        "predicted_letter": record["predicted_letter"],
        "model_output": record["model_output"],
        "is_correct": record["is_correct"],
        "score": record["score"],
        "graded_by": record["graded_by"],
        "is_parsed": record["is_parsed"],
        "refused": record["refused"],
        "truncated": record["truncated"],
    }
    if "thinking" in record:
        made["thinking"] = record["thinking"]
    if repeat.order is not None:
        made["permutation"] = repeat.order
    return made


def _by_majority(records: Sequence[QaRecord], repeats: Sequence[Repeat]) -> tuple[QaRecord, DecidedBy]:
    """The record of the first of the most frequent answers, or of the first answer where none is."""
    groups, votes = _ballot(records)
    if winners := plurality(groups):
        number = winners[0]
        return records[number].copy(), _decided_by("majority", repeats[number], votes)
    record = _undecided(records[0], "tie", is_parsed=True) if groups else records[0].copy()
    return record, _decided_by("tie" if groups else "none", repeats[0], votes)


def _right_in_each(records: Sequence[QaRecord], repeats: Sequence[Repeat]) -> tuple[QaRecord, DecidedBy]:
    """The record of the first answer, which is right only if all are; its letter is the one that all give."""
    groups, votes = _ballot(records)
    record = records[0].copy()
    if len(groups) != 1 or len(groups[0]) != len(records):
        record = _undecided(record, "circular", is_parsed=all(one["is_parsed"] for one in records))
    return record, _decided_by("circular", repeats[0], votes)


def _undecided(record: QaRecord, rule: str, is_parsed: bool) -> QaRecord:
    """The record of answers of which none counts."""
    is_graded = record["is_correct"] is not None
    record = {
        **record,
        "predicted_letter": None,
        "is_correct": False if is_graded else None,
        "score": 0.0 if is_graded else None,
        "graded_by": rule,
        "is_parsed": is_parsed,
        "refused": record["refused"] and not is_parsed,
    }
    if "cannot_answer" in record:
        record["cannot_answer"] = False
    record.pop("fallback_letter", None)
    record.pop("fallback_is_correct", None)
    return record


def _ballot(records: Sequence[QaRecord]) -> tuple[list[list[int]], dict[str, int]]:
    """As `ballot`, and how often each answer was given."""
    are_letters = bool(records[0]["choices"])
    votes = [_vote(record, are_letters) for record in records]
    groups = ballot(votes, are_letters)
    return groups, {str(votes[group[0]]): len(group) for group in groups}


def _vote(record: QaRecord, is_letter: bool) -> str | None:
    if is_letter:
        return record["predicted_letter"]
    is_read = record["is_parsed"] and not record["refused"]
    return stated_vote(record["model_output"], record["truncated"]) if is_read else None


def _decided_by(rule: DecisionRule, repeat: Repeat, votes: dict[str, int]) -> DecidedBy:
    return {"rule": rule, "round": repeat.round, "sample": repeat.sample, "votes": votes}
