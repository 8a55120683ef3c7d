"""Failures: the items of a final file that have no result, and whether they are too many."""

from typing import TypedDict

from captionqa.errors import QUESTION_FAULTS, ResultError, TooManyFailuresError
from captionqa.files import read_json


class Failure(TypedDict):
    """Why one item has no result; a failures file is {item: Failure}."""

    #: One of `captionqa.errors.Reason`.
    reason: str
    #: One sentence on what happened.
    detail: str


def check_failures(failures_path: str, provenance_path: str, max_failed_fraction: float) -> None:
    """Check that at most the allowed fraction of a final file's items failed.

    Raises:
        TooManyFailuresError: more failed.
        ResultError: the provenance is missing.
    """
    provenance = read_json(provenance_path)
    if provenance is None:
        raise ResultError(f"{provenance_path} is missing; run the workflow again to write it.")
    counts = provenance["counts"]
    if counts["failed"] > max_failed_fraction * counts["items"]:
        by_reason = counts["failures_by_reason"]
        reasons = ", ".join(f"{count} {reason}" for reason, count in by_reason.items())
        remedies = []
        if by_reason.keys() - QUESTION_FAULTS:
            remedies.append("`make retry-failed` and a new run ask for them again")
        if by_reason.keys() & QUESTION_FAULTS:
            remedies.append(f"the question file has to be corrected for {' and '.join(QUESTION_FAULTS)}")
        raise TooManyFailuresError(
            f"{counts['failed']} of {counts['items']} items failed ({reasons}), more than client.max_failed_fraction = "
            f"{max_failed_fraction:g} allows; {failures_path} lists them, and the final file has all others: "
            f"{', '.join(remedies)}, a higher max_failed_fraction accepts them."
        )
