"""Audit the images and the questions, and write the table of findings."""

from captionqa.config.config import Config
from captionqa.dataset.audit import run_audit
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

config = Config.of(snakemake.config)
layout = config.layout()

with job_log(snakemake.log[0], "audit", layout, echo=True):
    end_with_run(layout.server)
    run_audit(config, layout)
