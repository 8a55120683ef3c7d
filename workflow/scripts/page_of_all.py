"""Write the page of several data sets, or store why there is none, for the end of the run."""

import logging

from captionqa.config.config import Config
from captionqa.errors import CaptionqaError, RunStoppedError
from captionqa.page.grid import write_grid_page
from captionqa.page.run_end import KILLED, give_up_page
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

config = Config.of(snakemake.config)
layout = config.layout()

with job_log(snakemake.log[0], "page_of_all", layout):
    end_with_run(layout.server)
    try:
        if snakemake.resources.attempt > 1:
            raise CaptionqaError(KILLED)
        write_grid_page(config, layout)
    except RunStoppedError:
        raise
    except Exception as error:
        logging.exception("%s", error)
        give_up_page(layout, snakemake.output, error, snakemake.log[0])
