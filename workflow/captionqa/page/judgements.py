"""What a judge says on the page: its grade of an answer beside that of the rules, and its figures for each column."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captionqa.dataset.json_elements import KEY_COLUMN, elements
from captionqa.files import read_json
from captionqa.page.answers import PageJudgement, cut
from captionqa.results.answer_sets import AnswerSet
from captionqa.results.judged_records import JudgeMetrics
from captionqa.results.metrics import QaMetrics


class Judgements:
    """What a judge said of the answers of one set, read in the order of their qids; nothing where it did not judge."""

    def __init__(self, answers: AnswerSet):
        paths = [Path(answers.companion(kind)) for kind in ("judged", "judge_failures")]
        self._streams: list[Iterator[Any]] = [elements(path) for path in paths if path.exists()]
        self._next = [next(stream, None) for stream in self._streams]

    def of(self, qid: str, outcome: Any) -> PageJudgement | None:
        """Of what an answer set has of a question; None where it was not judged, or where another answer to it was."""
        found = None
        for number, stream in enumerate(self._streams):
            # questions that are no longer asked are passed over
            while (element := self._next[number]) is not None and element[2][KEY_COLUMN] <= qid:
                found = element[2] if element[2][KEY_COLUMN] == qid else found
                self._next[number] = next(stream, None)
        if found is None or outcome is None or "is_correct" not in outcome:
            return None
        if "judge" not in found:
            return {
                "grade": None,
                "output": None,
                "truncated": False,
                "reason": found["reason"],
                "detail": cut(found["detail"]),
            }
        return _judgement(found["judge"]) if found["model_output"] == outcome["model_output"] else None


def _judgement(said: Any) -> PageJudgement:
    judgement: PageJudgement = {
        "grade": said["grade"],
        "output": cut(said["output"]),
        "truncated": said["truncated"],
    }
    if thinking := said.get("thinking"):
        judgement["thinking"] = cut(thinking)
    return judgement


def judge_figures(answers: AnswerSet, rules: QaMetrics) -> JudgeMetrics | None:
    """The judge's metrics of a set; None where it did not judge these answers, by the figures of the rules in both."""
    judged: JudgeMetrics | None = read_json(answers.companion("judge_metrics"))
    graded = rules["total_questions"] - rules["ungraded_questions"]
    of_rules = rules["correct_answers"], graded
    is_of_these = judged is not None and (judged["rules"]["correct"], judged["rules"]["total"]) == of_rules
    return judged if is_of_these else None
