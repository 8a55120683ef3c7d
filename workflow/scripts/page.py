"""Write the page that shows the results with their images."""

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.page.results_page import write_page
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

config = Config.of(snakemake.config)
layout = Layout(config.output_dir, config.model_name)

with job_log(snakemake.log[0], "page", layout):
    end_with_run(layout.server)
    write_page(config, layout)
