"""Repeats of a question: the same with its options in another order, or asked once more by another seed.

Each is an item of its own. The first is called by the qid alone, as a question that is asked once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict, TypeVar

T = TypeVar("T")
#: Stands after the qid in the id of a repeat. No character sorts before it, so that a question's repeats follow one
#: another wherever items are sorted by their ids.
_SEPARATOR = "\0"


class RowRepeats(TypedDict):
    """How a question is repeated, as its row keeps it."""

    #: For each round the numbers of the choices in the order in which they are asked; [] for a question without.
    orders: list[list[int]]
    samples: int
    #: Whether the answer is right only if it is right in each round.
    circular: NotRequired[bool]


@dataclass(frozen=True)
class Repeat:
    """One item of a question."""

    id: str
    #: From 1.
    round: int
    sample: int
    #: The numbers of the choices in the order in which they are asked; None for that of the file.
    order: list[int] | None


def repeat_id(qid: str, round_number: int, sample: int) -> str:
    """The id of an item."""
    if (round_number, sample) == (1, 1):
        return qid
    return f"{qid}{_SEPARATOR}round {round_number} sample {sample}"


def repeat_of(item: str) -> tuple[int, int]:
    """The round and the sample of an item."""
    _, is_further, numbers = item.partition(_SEPARATOR)
    if not is_further:
        return 1, 1
    _, round_number, _, sample = numbers.split(" ")
    return int(round_number), int(sample)


def question_of(item: str) -> str:
    """The qid of the question that an item belongs to."""
    return item.partition(_SEPARATOR)[0]


def is_first(item: str) -> bool:
    """Whether an item is the first of its question's."""
    return _SEPARATOR not in item


def shown_id(item: str) -> str:
    """The id of an item as a person reads it."""
    return item.replace(_SEPARATOR, ", ")


def repeats_of(qid: str, repeats: RowRepeats | None) -> Iterator[Repeat]:
    """The items of a question, by what its row has under `repeats`."""
    if repeats is None:
        yield Repeat(qid, 1, 1, None)
        return
    for number, order in enumerate(repeats["orders"], 1):
        for sample in range(1, repeats["samples"] + 1):
            yield Repeat(repeat_id(qid, number, sample), number, sample, order if number > 1 else None)


def in_order(options: Sequence[T], order: Sequence[int]) -> list[T]:
    """The options in an order, which has for each place the number of its option."""
    return [options[number] for number in order]
