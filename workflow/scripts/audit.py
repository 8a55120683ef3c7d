"""Look through the images and the questions, and write the table of what is wrong or odd with them."""

from captionqa.audit import run_audit
from captionqa.config import model_name
from captionqa.joblog import job_log
from captionqa.layout import Layout

config = snakemake.config
layout = Layout(config["output_dir"], model_name(config))

with job_log(snakemake.log[0], "audit", layout, echo=True):
    run_audit(config, layout)
