"""Fail where too many items of a final file have no result."""

from pathlib import Path

from captionqa.joblog import job_log
from captionqa.layout import Layout
from captionqa.lease import end_with_run
from captionqa.merge import check_failures

layout = Layout(snakemake.config["output_dir"], snakemake.wildcards.model)

with job_log(snakemake.log[0], "check_failures", layout):
    end_with_run(layout.server)
    for failures, provenance in zip(snakemake.input.failures, snakemake.input.provenance, strict=True):
        check_failures(failures, provenance, snakemake.params.max_failed_fraction)
    Path(snakemake.output[0]).touch()
