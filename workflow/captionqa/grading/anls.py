"""ANLS, the average normalized Levenshtein similarity of DocVQA, for one question.

Biten et al. 2019, Scene Text Visual Question Answering, ICCV.
"""

from collections.abc import Sequence

#: From this distance on, as a share of the longer text, an answer scores nothing.
THRESHOLD = 0.5


def anls(given: str, answers: Sequence[str]) -> float:
    """The similarity of an answer to the nearest acceptable one, from 0 to 1; case and runs of blanks do not count."""
    return max((_similarity(_plain(given), _plain(answer)) for answer in answers), default=0.0)


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _similarity(given: str, wanted: str) -> float:
    longer = max(len(given), len(wanted))
    if not longer:
        return 0.0
    if abs(len(given) - len(wanted)) >= THRESHOLD * longer:  # the distance is at least the difference of the lengths
        return 0.0
    distance = _levenshtein(given, wanted) / longer
    return 1 - distance if distance < THRESHOLD else 0.0


def _levenshtein(one: str, other: str) -> int:
    """The fewest characters to insert, remove or replace."""
    if one == other:
        return 0
    row = list(range(len(other) + 1))
    for i, sign in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, counterpart in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (sign != counterpart))
    return row[-1]
