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
from captionqa.results.provenance import Provenance, file_digest, read_provenance


class Judgements:
    """What the judge of a configuration said of the answers of one set, read in the order of their qids.

    Nothing where it did not judge, or where the files are of an earlier judge or prompt, as after a run whose judge
    failed.
    """

    def __init__(self, answers: AnswerSet, config: Config):
        kinds = () if _judged_now(answers, config) is None else ("judged", "judge_failures")
        paths = [Path(answers.companion(kind)) for kind in kinds]
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


def judge_figures(answers: AnswerSet, config: Config) -> JudgeMetrics | None:
    """The metrics of a set by the judge of a configuration; None where it has not judged all of these answers."""
    described = _judged_now(answers, config)
    if described is None or config.judge is None or described["judged"]["when"] != config.judge.when:
        return None
    with open(answers.results, "rb") as file:
        if described["judged"].get("fingerprint") != file_digest(file):
            return None
    judged: JudgeMetrics | None = read_json(answers.companion("judge_metrics"))
    return judged


def _judged_now(answers: AnswerSet, config: Config) -> Provenance | None:
    """The provenance of the judge's files beside a set; None where they are not of the judge and prompt of now."""
    described = read_provenance(answers.companion("judge_provenance"))
    if described is None or fingerprint(described["settings"]) != fingerprint(judge_settings(config)):
        return None
    return described
