"""The page at the end of a run: completed by where the time went, or made of what an unfinished run has answered."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import captionqa
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.errors import CaptionqaError, RunStoppedError
from captionqa.files import read_json, write_json
from captionqa.page.completeness import has_comparison, has_final_files, is_of_all_results
from captionqa.page.run_figures import page_data, run_figures
from captionqa.page.script_data import write_script
from captionqa.run.job_log import JobError

#: The name of the file that says why a run has no page, in the folder of errors.
FAULT = "page_left_out"
#: Why a page is left out whose job failed without an error of its own.
KILLED = "the job that makes it was killed, mostly since memory ran out"
#: How long the process that makes the page of an unfinished run may take.
UNFINISHED_PATIENCE_S = 30.0


class PageEnd(NamedTuple):
    """What the end of a run says of its page."""

    #: Where it is; None where there is none to show.
    path: str | None
    #: One sentence on why it could not be made; None where nothing is wrong.
    fault: str | None = None


def page_after_run(
    config: Config, layout: Layout, began: float, finished: bool, phase_names: Mapping[str, str]
) -> PageEnd:
    """Make or complete the page of a data set of a run that began at `began`, in seconds since the epoch.

    `finished` is whether all jobs of the run were done, `phase_names` how the end of a run names its phases. Whatever
    fails here does not make the run fail.
    """
    if not config.report.page:
        return PageEnd(None)
    try:
        if not finished and not is_of_all_results(layout.page, config, layout) and not _make_unfinished(config):
            return PageEnd(None)
        return _completed("page", config, layout, began, phase_names)
    except (CaptionqaError, OSError, subprocess.SubprocessError) as error:
        return PageEnd(None, f"the page could not be made: {error}")


def grid_page_after_run(
    config: Config, layout: Layout, began: float, finished: bool, phase_names: Mapping[str, str]
) -> PageEnd:
    """Make or complete the page of all named data sets of a run, after those of each; otherwise as `page_after_run`."""
    parts = config.by_data_set(layout)
    if not config.report.page or not any(Path(of_data.page).exists() for _, of_data in parts):
        return PageEnd(None)
    try:
        if not finished and not all(is_of_all_results(layout.page, *part) for part in parts):
            from captionqa.page.grid import write_grid_page, write_unfinished_grid_page  # few runs get here, all wait

            if all(has_final_files(*part) for part in parts) and has_comparison(config, layout):
                write_grid_page(config, layout)
                os.utime(layout.page, (0, 0))  # as for an unfinished page
            else:
                write_unfinished_grid_page(config, layout)
        return _completed("page_of_all", config, layout, began, phase_names)
    except (CaptionqaError, OSError) as error:
        return PageEnd(None, f"the page of all data sets could not be made: {error}")


def _completed(job: str, config: Config, layout: Layout, began: float, phase_names: Mapping[str, str]) -> PageEnd:
    """Complete the page that there is by where the time went, unless it is the empty file of a `job` that gave up."""
    page, data = Path(layout.page), page_data(layout)
    if not page.exists():
        return PageEnd(None)
    if not page.stat().st_size:
        page.unlink()  # so that the next run makes it again
        return PageEnd(None, _fault_of(layout, job))
    if (data / "overview.js").stat().st_mtime >= began:  # else it has the figures of its own run already
        write_script(data, "run", run_figures(config, layout, phase_names))
    return PageEnd(layout.page)


def make_page(write: Callable[[], None], layout: Layout, outputs: Iterable[str], attempt: int, log: str) -> None:
    """Write a page in its job, or leave it out and store why, for the end of the run.

    `attempt` counts from 1; after the first, which was killed, no page is made.

    Raises:
        RunStoppedError: the run was stopped meanwhile.
    """
    try:
        if attempt > 1:
            raise CaptionqaError(KILLED)
        write()
    except RunStoppedError:
        raise
    except Exception as error:
        logging.exception("%s", error)
        give_up_page(layout, outputs, error, log)


def give_up_page(layout: Layout, outputs: Iterable[str], error: Exception, log: str) -> str:
    """Leave empty files in place of the page and return a sentence that says why.

    Complete results must not end as a failed run for want of their page. The end of the run removes the empty page.
    """
    reason = str(error) if isinstance(error, CaptionqaError | OSError) else f"{type(error).__name__}: {error}"
    fault = f"the results are complete, but their page could not be made: {reason.rstrip('.')}; log: {log}"
    for path in outputs:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("")
    with suppress(OSError):  # on a full disk the end of the run names the log alone
        write_json(_fault_file(layout), JobError(error=fault))
    return fault


def _fault_of(layout: Layout, job: str) -> str:
    """Why this run's job could not make the page."""
    stored: JobError | None = read_json(_fault_file(layout))
    return (
        stored["error"]
        if stored
        else f"the results are complete, but their page could not be made; log: {layout.logs}/{job}.log"
    )


def _fault_file(layout: Layout) -> Path:
    return layout.job_error(layout.job_file(FAULT))


def _make_unfinished(config: Config) -> bool:
    """Make the page of an unfinished run, in a process that may take no longer than UNFINISHED_PATIENCE_S."""
    command = [sys.executable, "-m", "captionqa.page.unfinished_page"]
    paths = os.pathsep.join(filter(None, (str(captionqa.WORKFLOW), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        command,
        input=json.dumps(asdict(config)).encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=UNFINISHED_PATIENCE_S,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    return done.returncode == 0
