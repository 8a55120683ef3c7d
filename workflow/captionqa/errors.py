"""The errors that more than one room uses. The message of a CaptionqaError is one sentence that a user can act on."""

from enum import StrEnum


class CaptionqaError(Exception):
    """Base of all errors that users see. The message says what is wrong, where, and what to do next."""


class ConfigError(CaptionqaError):
    """The configuration cannot be used."""


class InputError(CaptionqaError):
    """The images or the questions cannot be used."""


class ServerError(CaptionqaError):
    """The model server cannot be used."""


class UnreachableError(ServerError):
    """No server answers at the address."""


class ForeignServerError(ServerError):
    """Another process answers on the port of the server that the supervisor started."""


class WrongModelError(ServerError):
    """The server serves a model of another name."""


class ServerStartError(ServerError):
    """The server did not become healthy."""


class ServerDeadError(ServerError):
    """The server has ended for good, or could not be reached for too long."""


class ServerRefusedError(ServerError):
    """The server refuses requests for a reason that lies in none of the items."""


class RunStoppedError(CaptionqaError):
    """The run or this job is being stopped, or the driver has died."""


class RunTakenOverError(RunStoppedError):
    """Another run works in this output folder now; what this one leaves there is that run's."""


class ResultError(CaptionqaError):
    """Stored results are missing, unreadable, or contradict each other or the configuration."""


class TooManyFailuresError(CaptionqaError):
    """More items failed than `client.max_failed_fraction` allows."""


class DiskFullError(CaptionqaError, OSError):
    """The disk or the quota has no room for a file."""

    def __init__(self, folder: object, out_of_inodes: bool = False):
        """`out_of_inodes`: the disk has room for bytes and not for another file."""
        what = "holds all the files that it can: delete some" if out_of_inodes else "is full: make room"
        super().__init__(f"the disk {what} in {folder} and run the same command again.")


class DependencyError(CaptionqaError):
    """An installed package does not start, or is of a version that captionqa does not work with."""


class Reason(StrEnum):
    """Why an item has no result; the value stands in the failures file."""

    MISSING_IMAGE = "missing_image"
    UNREADABLE_IMAGE = "unreadable_image"
    IMAGE_TOO_LARGE = "image_too_large"
    PATH_OUTSIDE_DATASET = "path_outside_dataset"
    REQUEST_REJECTED = "request_rejected"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    EMPTY_OUTPUT = "empty_output"
    SCHEMA_MISMATCH = "schema_mismatch"
    MISSING_CAPTION = "missing_caption"
    INVALID_QUESTION = "invalid_question"
    UNGRADABLE_GROUND_TRUTH = "ungradable_ground_truth"


#: Faults of the question file, which a repeated request cannot fix.
QUESTION_FAULTS = (Reason.INVALID_QUESTION, Reason.UNGRADABLE_GROUND_TRUTH)
#: Faults of the data, found without a request: only other data or another `client.images.allowed_roots` helps.
DATA_FAULTS = (Reason.MISSING_IMAGE, Reason.PATH_OUTSIDE_DATASET, *QUESTION_FAULTS)
#: What only corrected data helps: `retry-failed` leaves such items, and the next run notices a correction by itself.
NOT_RETRIED = frozenset({Reason.MISSING_IMAGE, Reason.MISSING_CAPTION, *QUESTION_FAULTS})
#: Selects answers that ended at max_tokens, where a Reason selects failures.
TRUNCATED = "truncated"


class ItemFailure(CaptionqaError):
    """One item has no result. Its chunk continues."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
