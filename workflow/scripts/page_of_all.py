"""Write the page of several data sets, or store why there is none, for the end of the run."""

from functools import partial

from captionqa.config.config import Config
from captionqa.page.grid import write_grid_page
from captionqa.page.run_end import make_page
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

config = Config.of(snakemake.config)
layout, log = config.layout(), snakemake.log[0]

with job_log(log, "page_of_all", layout):
    end_with_run(layout.server)
    make_page(partial(write_grid_page, config, layout), layout, snakemake.output, snakemake.resources.attempt, log)
