"""Start the model server, or take over one that runs, and write the sentinel once it is healthy.

Where no chunk is without its result (a style was dropped from the configuration, say) no server is started.
"""

import shutil
from dataclasses import asdict
from pathlib import Path

from captionqa.chunks import items_to_do
from captionqa.files import write_json
from captionqa.joblog import job_log
from captionqa.layout import Layout
from captionqa.server import Server

config, model = snakemake.config, snakemake.wildcards.model
layout = Layout(config["output_dir"], model)

with job_log(snakemake.log[0], "start_server", layout, echo=True):
    endpoints = Server(config, model, layout).start() if items_to_do(config, layout) else []
    # a server that is taken over was released by halves of the run before
    shutil.rmtree(Path(layout.released("_")).parent, ignore_errors=True)
    write_json(snakemake.output.sentinel, [asdict(endpoint) for endpoint in endpoints])
    for marker in snakemake.output.live:
        Path(marker).touch()
