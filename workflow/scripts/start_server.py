"""Start the model server, or take over one that runs, and write the sentinel once it is healthy."""

from dataclasses import asdict
from pathlib import Path

from captionqa.files import write_json
from captionqa.joblog import job_log
from captionqa.layout import Layout
from captionqa.server import Server

config, model = snakemake.config, snakemake.wildcards.model
layout = Layout(config["output_dir"], model)

with job_log(snakemake.log[0], "start_server", layout, echo=True):
    endpoints = Server(config, model, layout).start()
    write_json(snakemake.output.sentinel, [asdict(endpoint) for endpoint in endpoints])
    for marker in snakemake.output.live:
        Path(marker).touch()
