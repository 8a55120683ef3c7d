"""Votes: what each of several answers to one question stands for, and which of these most of them gave."""

from collections.abc import Sequence

from captionqa.grading.model_output import without_reasoning
from captionqa.grading.same_answer import same_answer
from captionqa.grading.stated_value import stated_value


def stated_vote(output: str, truncated: bool) -> str | None:
    """The value that an answer to a question without choices votes for, or else its text; None where it gives none."""
    text = without_reasoning(output)
    if text is None:
        return None
    return stated_value(text, truncated) or (None if truncated else text.strip()) or None


def ballot(votes: Sequence[str | None], are_letters: bool) -> list[list[int]]:
    """The numbers of the votes that are for the same, by their first ones; None is no vote.

    Letters are the same where they are equal, other votes where `same_answer` takes them for the same.
    """
    groups: list[list[int]] = []
    for number, vote in enumerate(votes):
        if vote is None:
            continue
        for group in groups:
            other = votes[group[0]]
            if other == vote or (not are_letters and other is not None and same_answer(other, vote)):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def plurality(groups: Sequence[Sequence[int]]) -> Sequence[int] | None:
    """The group with the most votes; None where there is none, or two have as many."""
    ranked = sorted(groups, key=len, reverse=True)
    if not ranked or (len(ranked) > 1 and len(ranked[0]) == len(ranked[1])):
        return None
    return ranked[0]
