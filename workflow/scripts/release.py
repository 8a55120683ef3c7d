"""Mark one task of a data set as done with the server; the last one to be released stops it."""

from captionqa.config.config import Config
from captionqa.files import read_json, write_json
from captionqa.run.job_log import job_log
from captionqa.server.lifecycle import Server

wildcards, model = snakemake.wildcards, snakemake.wildcards.model
config = Config.of(snakemake.config)
layout = config.of_data_set(wildcards.data_set).layout(model)

with job_log(snakemake.log[0], f"release {wildcards.task}", layout):
    sentinel = read_json(layout.sentinel)
    write_json(snakemake.output[0], {"servers": sentinel})
    parts = config.by_data_set(layout)
    released = [read_json(of_data.released(task)) for one, of_data in parts for task in one.server_tasks(model)]
    if all(marker and marker["servers"] == sentinel for marker in released):
        Server(config, model, layout).request_stop()
