"""Write the page that shows the results with their images, or store why there is none, for the end of the run."""

from functools import partial

from captionqa.config.config import Config
from captionqa.page.results_page import write_page
from captionqa.page.run_end import make_page
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

config = Config.of(snakemake.config).of_data_set(snakemake.wildcards.data_set)
layout, log = config.layout(), snakemake.log[0]

with job_log(log, "page", layout):
    end_with_run(layout.server)
    make_page(partial(write_page, config, layout), layout, snakemake.output, snakemake.resources.attempt, log)
