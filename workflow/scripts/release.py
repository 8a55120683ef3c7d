"""Say that one half needs the server no more; the last half to say so stops it."""

from captionqa.config.config import halves
from captionqa.config.layout import Layout
from captionqa.files import read_json, write_json
from captionqa.run.job_log import job_log
from captionqa.server.lifecycle import Server

config, model = snakemake.config, snakemake.wildcards.model
layout = Layout(config["output_dir"], model)

with job_log(snakemake.log[0], f"release {snakemake.wildcards.half}", layout):
    sentinel = read_json(layout.sentinel)
    write_json(snakemake.output[0], {"servers": sentinel})
    released = [read_json(layout.released(half)) for half in halves(config)]
    if all(marker and marker["servers"] == sentinel for marker in released):
        Server(config, model, layout).request_stop()
