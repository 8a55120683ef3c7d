"""What a judge's words say of an answer: one of its two grades, or nothing that counts."""

import re
from typing import Literal

from captionqa.reasoning import split_reasoning

JudgeGrade = Literal["correct", "incorrect"]
#: Marks around a grade that change nothing: quotes, emphasis, brackets, a full stop.
_MARKS = r"[\s*_`\"'“”()\[\].!]*"
_GRADE = re.compile(
    rf"{_MARKS}(?:final\s+)?(?:grade{_MARKS}(?:[:=]|is){_MARKS})?(correct|incorrect){_MARKS}", re.IGNORECASE
)
#: A line that begins as one with a grade and may have none.
_CUE = re.compile(rf"{_MARKS}(?:final\s+)?grade{_MARKS}(?:[:=]|is\b)", re.IGNORECASE)


def judge_grade(output: str) -> JudgeGrade | None:
    """The grade that a judge gives; None for words that are none of its grades.

    Reasoning does not count. The lines that begin with `Grade:` count, or else the last line; each must hold one of the
    two words and nothing else, all of them the same. A last line that is the other word alone contradicts them. So
    never a guess: "not correct", "partially correct" and "correct or incorrect" are no grades.
    """
    _, text = split_reasoning(output)
    lines = [line for line in (text or "").splitlines() if line.strip()]
    graded = [line for line in lines if _CUE.match(line)] or lines[-1:]
    grades = {_grade_of(line) for line in graded} | {grade for line in lines[-1:] if (grade := _grade_of(line))}
    return grades.pop() if len(grades) == 1 else None


def _grade_of(line: str) -> JudgeGrade | None:
    found = _GRADE.fullmatch(line)
    if found is None:
        return None
    return "incorrect" if found[1].lower() == "incorrect" else "correct"
