"""A job's log, and what becomes of its errors: one sentence on the terminal, the rest in the log."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from captionqa.config.layout import Layout
from captionqa.errors import CaptionqaError, DiskFullError, RunStoppedError
from captionqa.files import DISK_FULL, write_json
from captionqa.run.job_times import note_job

FORMAT = "%(asctime)s %(levelname)s %(message)s"


@contextmanager
def job_log(path: str, name: str, layout: Layout, echo: bool = False) -> Iterator[None]:
    """Send log records to a file, to the terminal too with `echo`; end the process with one sentence on an error.

    The sentence is also kept in the run's errors folder, from where the driver repeats it at the very end; when the job
    worked is kept for the verdict.
    """
    file_name, started = name.replace(" ", "_").replace("/", "_"), time.time()
    error_file = layout.job_error(file_name)
    logging.raiseExceptions = False  # a full disk costs lines of the log, and no more words on the terminal
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # a file name that is not UTF-8 is no reason to lose the line that names it
        handlers: list[logging.Handler] = [logging.FileHandler(path, "w", encoding="utf-8", errors="backslashreplace")]
        if echo:
            terminal = logging.StreamHandler(sys.stderr)
            terminal.setFormatter(logging.Formatter("captionqa: %(message)s"))
            handlers.append(terminal)
        logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=handlers)
        yield
        error_file.unlink(missing_ok=True)  # of an attempt before
    except (RunStoppedError, KeyboardInterrupt) as error:
        logging.getLogger(__name__).warning("stopped: %s", error or "interrupted")
        sys.exit(1)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            error = DiskFullError(layout.output_dir)
        known = isinstance(error, CaptionqaError)
        text = str(error) if known else f"{type(error).__name__}: {error}"
        logging.getLogger(__name__).error("%s", text, exc_info=not known)
        reason = text.splitlines()[0]
        sentence = f"{name} failed: {reason}\n  log: {path}"
        if Path(layout.server_log()).exists():
            sentence += f"\n  server's log: {layout.server_log()}"
        with suppress(OSError):  # on a full disk it is said now and not again at the end
            write_json(error_file, {"error": sentence, "name": name, "reason": reason, "log": path})
        if not echo:
            print(f"captionqa: {sentence}", file=sys.stderr, flush=True)
        sys.exit(1)
    finally:
        with suppress(OSError):  # a full disk costs a figure of the verdict
            note_job(layout.job_times, file_name, started)
