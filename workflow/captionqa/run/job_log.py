"""A job's log, and its errors: one sentence for the terminal, the details in the log."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NotRequired, TypedDict

from captionqa.config.layout import Layout
from captionqa.errors import CaptionqaError, RunStoppedError
from captionqa.files import DISK_FULL, disk_full_error, not_through_link, write_json
from captionqa.run.job_times import begin_job_time, record_job_time
from captionqa.shown_text import PrintableFormatter, printable_lines

FORMAT = "%(asctime)s %(levelname)s %(message)s"


class JobError(TypedDict):
    """A file in the folder of errors: why a job failed, or why the driver stopped the run."""

    #: What the user reads at the end of the run: the job, the reason and the logs.
    error: str
    #: The job's name. Missing, like `reason` and `log`, where the driver itself wrote the file.
    name: NotRequired[str]
    #: The first line of the error's message, which several jobs may share.
    reason: NotRequired[str]
    #: The other lines of the message, such as the end of the server's log.
    details: NotRequired[str]
    #: The job's log.
    log: NotRequired[str]
    #: The log of the server of the job's model; missing where there is none.
    server_log: NotRequired[str]


@contextmanager
def job_log(path: str, name: str, layout: Layout, echo: bool = False) -> Iterator[None]:
    """Send log records to a file, with `echo` all but errors also to the terminal; on an error end the process.

    The error goes as one sentence to the run's errors folder, for the driver to show; where it cannot be stored, it is
    printed. The time at which the job worked goes to the job times.

    Raises:
        SystemExit: the block raised an error.
    """
    file_name, name, started = layout.job_file(name), layout.job_name(name), time.time()
    error_file = layout.job_error(file_name)
    logging.raiseExceptions = False  # a log that a full disk cuts short must not fill the terminal with tracebacks
    try:
        _set_up_logging(path, echo)
        with suppress(OSError):  # on a full disk the verdict lacks this time
            begin_job_time(layout.job_times, file_name, started)
        yield
        error_file.unlink(missing_ok=True)  # of an earlier attempt
    except (RunStoppedError, KeyboardInterrupt) as error:
        logging.getLogger(__name__).warning("stopped: %s", str(error) or "interrupted")
        sys.exit(1)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            error = disk_full_error(layout.output_dir)
        known = isinstance(error, CaptionqaError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        logging.getLogger(__name__).error("%s", text, exc_info=not known)
        reason, _, details = text.partition("\n")
        sentence = f"{name} failed: {reason}\n  log: {path}"
        stored = JobError(error=sentence, name=name, reason=reason, details=details, log=path)
        if Path(layout.server_log()).exists():
            stored["server_log"] = layout.server_log()
            stored["error"] += f"\n  server's log: {layout.server_log()}"
        try:
            write_json(error_file, stored)
        except OSError:  # as on a full disk
            print(f"captionqa: {printable_lines(stored['error'])}", file=sys.stderr, flush=True)
        sys.exit(1)
    finally:
        with suppress(OSError):
            record_job_time(layout.job_times, file_name, started)


def _set_up_logging(path: str, echo: bool) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # a file name that is not UTF-8 must not cost the line that names it
    file = open(path, "w", encoding="utf-8", errors="backslashreplace", opener=not_through_link)  # noqa: SIM115 - open until the job ends
    handlers: list[logging.Handler] = [logging.StreamHandler(file)]
    handlers[0].setFormatter(PrintableFormatter(FORMAT))
    if echo:
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setFormatter(PrintableFormatter("captionqa: %(message)s"))
        terminal.addFilter(lambda record: record.levelno < logging.ERROR)
        handlers.append(terminal)
    logging.basicConfig(level=logging.INFO, handlers=handlers)
