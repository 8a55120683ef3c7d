"""Every error that captionqa raises on purpose; each message is one sentence a user can act on."""

from enum import StrEnum


class CaptionqaError(Exception):
    """Base of all; the message says what is wrong, where, and what to do next."""


class ConfigError(CaptionqaError):
    """The configuration cannot be used."""


class InputError(CaptionqaError):
    """The images or the questions cannot be used."""


class ServerError(CaptionqaError):
    """The model server cannot be used."""


class ForeignServerError(ServerError):
    """What answers on the server's port is not the server that was started there."""


class WrongModelError(ServerError):
    """The server serves another model."""


class ServerStartError(ServerError):
    """The server did not become healthy."""


class ServerDeadError(ServerError):
    """The server is gone for good, or was not to be reached for too long."""


class ServerRefusedError(ServerError):
    """The server refuses whatever is asked."""


class RunStoppedError(CaptionqaError):
    """The driver stopped the run, or is gone."""


class ResultError(CaptionqaError):
    """Stored results do not fit together or do not fit the configuration."""


class TooManyFailuresError(CaptionqaError):
    """More items failed than `client.max_failed_fraction` allows."""


class DiskFullError(CaptionqaError, OSError):
    """There is no room for a file, on the disk or in a quota."""

    def __init__(self, folder: object):
        super().__init__(f"the disk is full: make room in {folder} and run the same command again.")


class DependencyError(CaptionqaError):
    """An installed package is of a version that captionqa does not work with."""


class Reason(StrEnum):
    """Why an item has no result."""

    MISSING_IMAGE = "missing_image"
    UNREADABLE_IMAGE = "unreadable_image"
    IMAGE_TOO_LARGE = "image_too_large"
    PATH_OUTSIDE_DATASET = "path_outside_dataset"
    REQUEST_REJECTED = "request_rejected"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    EMPTY_OUTPUT = "empty_output"
    INVALID_QUESTION = "invalid_question"
    UNGRADABLE_GROUND_TRUTH = "ungradable_ground_truth"


#: Faults of the question file: asking again helps with none of them.
QUESTION_FAULTS = (Reason.INVALID_QUESTION, Reason.UNGRADABLE_GROUND_TRUTH)
#: Selects answers that ended at max_tokens, where a Reason selects failures.
TRUNCATED = "truncated"


class ItemFailure(CaptionqaError):
    """One item has no result; the chunk goes on without it."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
