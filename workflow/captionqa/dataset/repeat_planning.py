"""Planning repeats: in which orders the options of a question are asked, and with which text."""

import random
from math import factorial

from captionqa.config.repeats import Repeats, ShuffleConfig
from captionqa.dataset.choice_order import random_order, text_in_order
from captionqa.dataset.question_repeats import Repeat, RowRepeats
from captionqa.grading.choices import lettered_choices


class PlannedRepeats:
    """Decides how questions are repeated, and counts those whose options stay where they are."""

    def __init__(self, wanted: Repeats):
        self._wanted = wanted
        self._unmoved = 0

    def of(self, qid: str, question: str, choices: list[str] | None) -> RowRepeats | None:
        """How a question is repeated; None for one that is asked once. `choices` are those of a column."""
        shuffle, samples = self._wanted.shuffle, self._wanted.samples
        orders: list[list[int]] = [[]]
        if shuffle is not None and (options := choices or lettered_choices(question)):
            orders = choice_orders(qid, len(options), shuffle)
            if any(text_in_order(question, options, order) is None for order in orders[1:]):
                orders = [[]]
                self._unmoved += 1
        if len(orders) == samples == 1:
            return None
        repeats: RowRepeats = {"orders": orders, "samples": samples}
        if shuffle is not None and shuffle.circular and len(orders) > 1:
            repeats["circular"] = True
        return repeats

    def notes(self) -> list[str]:
        """A sentence on the questions whose options cannot be moved."""
        if not self._unmoved:
            return []
        return [
            f"{self._unmoved:,} with options that cannot be moved (in the image, with images, or naming each other's "
            "letters): asked in the file's order alone"
        ]


def repeated_text(question: str, choices: list[str] | None, repeat: Repeat) -> str:
    """The text of an item; its order is one of `PlannedRepeats`."""
    if repeat.order is None:
        return question
    moved = text_in_order(question, choices or lettered_choices(question), repeat.order)
    assert moved is not None, "only options that can be moved have an order"
    return moved


def choice_orders(qid: str, options: int, shuffle: ShuffleConfig) -> list[list[int]]:
    """The orders of a question's options, that of the file first.

    Shuffles are drawn by Python's `random.Random(f"{seed} {qid}")`, so that other questions and more rounds change
    none. No order comes twice before all have come. Rotations are those of CircularEval: ABCD, BCDA, CDAB, DABC.
    """
    if shuffle.circular:
        return [[(place + shift) % options for place in range(options)] for shift in range(options)]
    generator = random.Random(f"{shuffle.seed} {qid}")
    orders = [list(range(options))]
    while len(orders) < shuffle.rounds:
        complete = len(orders) // factorial(options) * factorial(options)
        order = random_order(options, generator)
        if order not in orders[complete:]:
            orders.append(order)
    return orders
