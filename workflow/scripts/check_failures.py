"""Fail if too many items of a final file have no result; the error names all such files."""

from pathlib import Path

from captionqa.config.config import Config
from captionqa.errors import TooManyFailuresError
from captionqa.results.failures import check_failures
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

config = Config.of(snakemake.config)
layout = config.layout()

with job_log(snakemake.log[0], "check_failures", layout):
    end_with_run(layout.server)
    complaints = []
    limits = snakemake.params.max_failed_fraction, snakemake.params.count_data_faults
    for failures, provenance in zip(snakemake.input.failures, snakemake.input.provenance, strict=True):
        try:
            check_failures(failures, provenance, *limits)
        except TooManyFailuresError as error:
            complaints.append(str(error))
    if complaints:
        raise TooManyFailuresError("\n".join(complaints))
    Path(snakemake.output[0]).touch()
