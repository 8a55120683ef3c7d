"""Failures: the items of a final file that have no result, and whether they are too many."""

from collections.abc import Mapping
from typing import TypedDict

from captionqa.errors import DATA_FAULTS, QUESTION_FAULTS, Reason, ResultError, TooManyFailuresError
from captionqa.files import read_json


class Failure(TypedDict):
    """Why one item has no result; a failures file is {item: Failure}."""

    #: One of `captionqa.errors.Reason`.
    reason: str
    #: One sentence on what happened.
    detail: str


def check_failures(
    failures_path: str, provenance_path: str, max_failed_fraction: float, count_data_faults: bool = False
) -> None:
    """Check that at most the allowed fraction of a final file's items failed.

    Faults of the data count with `count_data_faults` alone; without them the fraction is of the other items. A final
    file without any answer passes only where every item may fail, or a judge had nothing to judge.

    Raises:
        TooManyFailuresError: more failed.
        ResultError: the provenance is missing.
    """
    provenance = read_json(provenance_path)
    if provenance is None:
        raise ResultError(f"{provenance_path} is missing; run the workflow again to write it.")
    counts = provenance["counts"]
    if "judged" in provenance and not counts["items"]:
        return
    by_reason: Mapping[str, int] = counts["failures_by_reason"]
    uncounted = 0 if count_data_faults else sum(by_reason.get(reason, 0) for reason in DATA_FAULTS)
    failed, items = counts["failed"] - uncounted, counts["items"] - uncounted
    is_empty = counts["failed"] == counts["items"] and max_failed_fraction < 1
    if failed <= max_failed_fraction * items and not is_empty:
        return
    what = "images"
    if "question_file" in provenance:
        what = "questions"
    elif "judged" in provenance:
        what = f"answers to judge by {provenance['settings']['model']}"
    if failed:
        text = f"Done, but {failed:,} of {items:,} {what} failed (limit {max_failed_fraction * 100:g} %)"
    else:
        failed, items, uncounted, count_data_faults = counts["failed"], counts["items"], 0, True
        text = f"Done, but none of {items:,} {what} has an answer"
    text += f": {_described(by_reason, count_data_faults)}."
    if uncounted:
        text += f" {uncounted:,} more have faults of the data, which do not count (client.count_data_faults)."
    if what == "questions" and by_reason.get(Reason.MISSING_IMAGE) == items:
        text += " Is qa.dataset_path the folder that the images' paths are relative to?"
    if by_reason.keys() - {*DATA_FAULTS, Reason.MISSING_CAPTION}:
        text += " `captionqa retry-failed` and a new run ask again for what may succeed."
    accepted = -(-failed * 100 // items) / 100
    raise TooManyFailuresError(f"{text} List: {failures_path}. Accept: client.max_failed_fraction: {accepted:g}")


def _described(by_reason: Mapping[str, int], with_data_faults: bool) -> str:
    """What the failures need; those that a new request may help by their reasons alone."""
    parts = []
    if with_data_faults:
        in_question_file = sum(by_reason.get(reason, 0) for reason in QUESTION_FAULTS)
        for number, one, more in (
            (in_question_file, "needs the question file corrected", "need the question file corrected"),
            (by_reason.get(Reason.MISSING_IMAGE, 0), "names a missing file", "name missing files"),
            (by_reason.get(Reason.PATH_OUTSIDE_DATASET, 0), "leads out of the data set", "lead out of the data set"),
        ):
            if number:
                parts.append(f"{number:,} {one if number == 1 else more}")
    parts += [f"{number:,} {reason}" for reason, number in by_reason.items() if reason not in DATA_FAULTS]
    return ", ".join(parts)
