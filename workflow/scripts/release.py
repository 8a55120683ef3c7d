"""Mark one task of a data set as done with the server; the last one that this run releases stops it."""

from captionqa.config.config import Config
from captionqa.files import read_json, write_json
from captionqa.run.job_log import job_log
from captionqa.run.lease import current_run
from captionqa.run.run_record import read_run_record
from captionqa.server.lifecycle import Server

wildcards, model = snakemake.wildcards, snakemake.wildcards.model
config = Config.of(snakemake.config)
layout = config.of_data_set(wildcards.data_set).layout(model)

with job_log(snakemake.log[0], f"release {wildcards.task}", layout):
    marker = {"run": current_run()}
    write_json(snakemake.output[0], marker)
    if all(read_json(path) == marker for path in read_run_record(layout.server)["releases"]):
        Server(config, model, layout).request_stop()
