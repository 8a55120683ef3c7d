"""What a judge says on the page: its grade of an answer beside that of the rules, and its figures for each column."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captionqa.config.config import Config
from captionqa.config.settings import fingerprint, judge_settings
from captionqa.dataset.json_elements import KEY_COLUMN, elements
from captionqa.files import read_json
from captionqa.page.answers import PageJudgement, cut
from captionqa.results.answer_sets import AnswerSet
from captionqa.results.judged_records import JudgeMetrics
from captionqa.results.metrics import QaMetrics
from captionqa.results.provenance import read_provenance


class Judgements:
    """What a judge said of the answers of one set, read in the order of their qids."""

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


def judgements(config: Config, answers: AnswerSet) -> Judgements | None:
    """What the configured judge said of a set; None where none is configured, or another one said it."""
    return Judgements(answers) if _is_by_judge(config, answers) else None


def judge_figures(config: Config, answers: AnswerSet, rules: QaMetrics) -> JudgeMetrics | None:
    """The configured judge's metrics of a set; None where it did not judge these answers.

    Whether it judged these is told by the figures of the rules in both.
    """
    if not _is_by_judge(config, answers):
        return None
    judged: JudgeMetrics | None = read_json(answers.companion("judge_metrics"))
    graded = rules["total_questions"] - rules["ungraded_questions"]
    of_rules = rules["correct_answers"], graded
    is_of_these = judged is not None and (judged["rules"]["correct"], judged["rules"]["total"]) == of_rules
    return judged if is_of_these else None


def _is_by_judge(config: Config, answers: AnswerSet) -> bool:
    """Whether the files of a judge beside an answer set are by the configured one, with its prompt and its `when`."""
    stored, judge = read_provenance(answers.companion("judge_provenance")), config.judge
    if stored is None or judge is None:
        return False
    by_same = fingerprint(stored["settings"]) == fingerprint(judge_settings(config))
    return by_same and stored["judged"]["when"] == judge.when
