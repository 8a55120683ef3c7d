"""Merging a judge's answers: its grades beside those of the rules, whose files stay as they are."""

from collections.abc import Iterator, Sequence
from typing import TypedDict

from captionqa.client.chunk_result import ChunkResults, ResultLine
from captionqa.config.contexts import IMAGES
from captionqa.config.judge_config import JudgeConfig
from captionqa.config.settings import AnswerSettings
from captionqa.dataset.judged_answers import JudgedAnswers, ListIndex
from captionqa.errors import ResultError
from captionqa.files import json_object_writer, read_json, write_json
from captionqa.grading.judge_grade import judge_grade
from captionqa.results.agreement import Agreement
from captionqa.results.graded_answers import records_of
from captionqa.results.judge_items import is_to_judge
from captionqa.results.judged_records import AccuracyFigures, JudgedRecord, JudgeMetrics, JudgesGrade
from captionqa.results.made_from import made_from
from captionqa.results.metrics import InContext, QaMetrics
from captionqa.results.provenance import ItemCounts, file_digest, provenance
from captionqa.results.qa_record import QaRecord
from captionqa.results.statistics import wilson_interval


class JudgedPaths(TypedDict):
    """The files that a merge writes."""

    judged: str
    metrics: str
    failures: str
    provenance: str


class JudgeTally:
    """Counts grades; the answers come one by one."""

    def __init__(self) -> None:
        self.agreement = Agreement()
        self.correct = self.incorrect = self.unscored = self.failed = 0
        #: Answers that the rules could not read and the judge graded, and what this adds to the correct ones.
        self.decided = self.gained = 0

    def add(self, record: QaRecord, grade: JudgesGrade) -> None:
        if grade["grade"] is None:
            self.unscored += 1
            return
        is_correct = grade["grade"] == "correct"
        self.correct += is_correct
        self.incorrect += not is_correct
        if record["is_parsed"]:
            self.agreement.add(bool(record["is_correct"]), is_correct)
        else:
            self.decided += 1
            self.gained += is_correct - bool(record["is_correct"])

    def metrics(self, judge: JudgeConfig, rules: QaMetrics, context: InContext, without_words: int) -> JudgeMetrics:
        """The figures beside those of the rules, which are from the metrics of the answers."""
        graded = rules["total_questions"] - rules["ungraded_questions"]
        judged = self.correct + self.incorrect
        return {
            "model": rules["model"],
            **context,
            "judge": judge.model,
            "when": judge.when,
            "decides": judge.decides,
            "rules": _accuracy(rules["correct_answers"], graded),
            "by_judge": {
                **_accuracy(self.correct, judged),
                "items": judged + self.unscored + self.failed,
                "judged": judged,
                "incorrect": self.incorrect,
                "unscored": self.unscored,
                "failed": self.failed,
                "without_words": without_words,
            },
            "combined": {
                **_accuracy(rules["correct_answers"] + self.gained, graded),
                "graded_by_judge": self.decided,
            },
            "agreement": self.agreement.metrics(),
            "notes": self._notes(judge),
        }

    def _notes(self, judge: JudgeConfig) -> list[str]:
        notes = []
        items = self.correct + self.incorrect + self.unscored + self.failed
        if not items:
            return [f"No answer had to be judged (qa.judge.when: {judge.when})."]
        if self.unscored:
            notes.append(
                f"{self.unscored:,} of {items:,} answers are not scored: what {judge.model} says is neither correct "
                "nor incorrect. Their grades are those of the rules."
            )
        if self.failed:
            notes.append(
                f"{self.failed:,} of {items:,} answers are not judged, since {judge.model} gave no answer. Their "
                "grades are those of the rules."
            )
        return notes


def merge_judged(answers: JudgedAnswers, chunks: Sequence[str], settings: AnswerSettings, to: JudgedPaths) -> None:
    """Write the judge's grades beside those of the rules, and their figures, failures and provenance.

    Raises:
        ResultError: a chunk result is incomplete, or was made under other settings or for other answers.
    """
    judge, dataset = answers.config.judge, answers.config.section("qa").dataset_path
    assert judge is not None, "there is a judge"
    index: ListIndex | None = read_json(answers.index)
    rules: QaMetrics | None = read_json(answers.path("metrics"))
    if index is None or rules is None:
        raise ResultError(f"{answers.path('metrics')} or {answers.index} is missing; run the same command again.")
    results, counts, tally = ChunkResults(chunks, settings), ItemCounts(), JudgeTally()
    with json_object_writer(to["judged"]) as add_record, json_object_writer(to["failures"]) as add_failure:
        for record, line in _joined(answers, judge, results.lines()):
            if "failure" in line:
                counts.add_failure(line["id"], line["failure"])
                tally.failed += 1
                add_failure(line["id"], {"reason": line["failure"], "detail": line["detail"]})
                continue
            counts.add_answer(line["id"], line["answer"], line["files"], shared="same_as" in line)
            grade = _judges_grade(line)
            tally.add(record, grade)
            add_record(line["id"], _judged_record(record, grade))
        counts.check_one_model(chunks)
    context: InContext = {} if answers.context == IMAGES else {"context": answers.context.name}
    write_json(to["metrics"], tally.metrics(judge, rules, context, index["without_words"]))
    described = provenance(results.headers, counts, settings, dataset)
    described["made_from"] = made_from(chunks)
    with open(answers.path("results"), "rb") as file:
        described["judged"] = {
            "results": answers.path("results"),
            "fingerprint": file_digest(file),
            "model": answers.model,
            "when": judge.when,
        }
    write_json(to["provenance"], described)


def _joined(
    answers: JudgedAnswers, judge: JudgeConfig, lines: Iterator[ResultLine]
) -> Iterator[tuple[QaRecord, ResultLine]]:
    """The record of each answer that is judged, with the line of the judge; both come sorted by id.

    Raises:
        ResultError: an answer has no line, or a line no answer.
    """
    records = (record for _, record in records_of(answers.path("results")))
    wanted = (record for record in records if is_to_judge(record, judge.when))
    for record in wanted:
        line = next(lines, None)
        if line is None or line["id"] != record["qid"]:
            raise _other_answers(answers)
        yield record, line
    if next(lines, None) is not None:
        raise _other_answers(answers)


def _other_answers(answers: JudgedAnswers) -> ResultError:
    return ResultError(
        f"the results of the judge in {answers.work}/chunks are not about the answers in {answers.path('results')}; "
        "delete that folder and run again, what the judge said is in the journal."
    )


def _judges_grade(line: ResultLine) -> JudgesGrade:
    answer = line["answer"]
    grade: JudgesGrade = {
        "grade": None if answer["finish_reason"] == "length" else judge_grade(answer["text"]),
        "output": answer["text"],
        "truncated": answer["finish_reason"] == "length",
    }
    if "reasoning" in answer:
        grade["thinking"] = answer["reasoning"]
    return grade


def _judged_record(record: QaRecord, grade: JudgesGrade) -> JudgedRecord:
    return {
        "qid": record["qid"],
        "question": record["question"],
        "gt_answer": record["gt_answer"],
        "gt_letter": record["gt_letter"],
        "model_output": record["model_output"],
        "rules": {
            "predicted_letter": record["predicted_letter"],
            "is_correct": bool(record["is_correct"]),
            "score": record["score"],
            "graded_by": record["graded_by"],
            "is_parsed": record["is_parsed"],
        },
        "judge": grade,
    }


def _accuracy(correct: int, total: int) -> AccuracyFigures:
    return {
        "correct": correct,
        "total": total,
        "accuracy": correct / total if total else None,
        "accuracy_interval_95": wilson_interval(correct, total),
    }
