"""Whether a final file has too many failures."""

from captionqa.errors import QUESTION_FAULTS, TooManyFailuresError
from captionqa.files import read_json


def check_failures(failures_path: str, provenance_path: str, max_failed_fraction: float) -> None:
    """Raise TooManyFailuresError where more than the allowed share of a final file's items failed."""
    counts = read_json(provenance_path)["counts"]
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
            f"{max_failed_fraction:g} allows; each is named in {failures_path}. The final file is there without them: "
            f"{', '.join(remedies)}, a higher max_failed_fraction accepts them."
        )
