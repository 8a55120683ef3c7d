"""Mark one task as done with the server; the last task to be released stops it."""

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.files import read_json, write_json
from captionqa.run.job_log import job_log
from captionqa.server.lifecycle import Server

config, model = Config.of(snakemake.config), snakemake.wildcards.model
layout = Layout(config.output_dir, model, config.model_name)

with job_log(snakemake.log[0], f"release {snakemake.wildcards.task}", layout):
    sentinel = read_json(layout.sentinel)
    write_json(snakemake.output[0], {"servers": sentinel})
    released = [read_json(layout.released(task)) for task in config.server_tasks(model)]
    if all(marker and marker["servers"] == sentinel for marker in released):
        Server(config, model, layout).request_stop()
