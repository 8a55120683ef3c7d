"""Start the model server, or take over a running one, and write the sentinel once it is healthy.

If no chunk is going to run (for example, since a style was dropped from the configuration), no server is started. Where
the servers of several models run one at a time, it starts once those of the others have ended, with their Slurm jobs. A
judge's is started only where it gets an answer to judge.
"""

import shutil
from dataclasses import asdict
from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.model_versions import planned_version
from captionqa.files import write_json
from captionqa.run.job_log import job_log
from captionqa.run.run_record import read_run_record
from captionqa.server.launcher import LocalLauncher
from captionqa.server.lifecycle import Server
from captionqa.server.slurm_launcher import SlurmLauncher

config, model = Config.of(snakemake.config), snakemake.wildcards.model
layout = config.layout(model)

with job_log(snakemake.log[0], "start_server", layout):
    run = read_run_record(layout.server)
    launcher = SlurmLauncher(**run["slurm"]) if run["slurm"] else LocalLauncher()
    needed = run["server_needed"]
    if needed and model == config.judge_alone:
        from captionqa.client.pending_requests import judge_needs_server  # slow: it reads requests

        needed = judge_needs_server(config, layout, planned_version(layout))
    if needed and config.servers == "one_at_a_time":
        for other in layout.of_models(name for name in config.model_names if name != model):
            Server(config, other.model, other).stop()
    endpoints = Server(config, model, layout, launcher).start(needed)
    # drop the releases of an earlier run, whose server may have been taken over
    shutil.rmtree(layout.server_files.released_folder, ignore_errors=True)
    write_json(snakemake.output.sentinel, [asdict(endpoint) for endpoint in endpoints])
    for marker in snakemake.output.live:
        Path(marker).touch()
