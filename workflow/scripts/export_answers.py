"""Write the answers in one of the formats of `export`."""

from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import qa_settings
from captionqa.export.export import export_answers
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

config, wildcards = Config.of(snakemake.config), snakemake.wildcards
layout = Layout(config.output_dir, wildcards.model)

with job_log(snakemake.log[0], f"export_qa {wildcards.format}", layout):
    end_with_run(layout.server)
    export_answers(
        wildcards.format,
        snakemake.input.results,
        snakemake.input.metrics,
        snakemake.input.provenance,
        snakemake.input.chunks,
        qa_settings(config, wildcards.model),
        scratch=Path(layout.work),
        shard_mb=snakemake.params.shard_mb,
        folder=Path(snakemake.output.folder),
        summary_path=snakemake.output.summary,
    )
