"""Write the answers in one of the formats of `export`."""

from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.settings import qa_settings
from captionqa.export.export import export_answers
from captionqa.export.target import ExportFolder
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

wildcards, given = snakemake.wildcards, snakemake.input
config = Config.of(snakemake.config).of_data_set(wildcards.data_set)
layout, context = config.layout(wildcards.model), config.context(wildcards.context)
# a provenance also says how the merge ran, which is in no export
sources = [given.results, given.metrics, *given.chunks, *given.code]

with job_log(snakemake.log[0], f"export_{context.title} {wildcards.format}", layout):
    end_with_run(layout.server)
    export_answers(
        wildcards.format,
        given.results,
        given.metrics,
        given.provenance,
        given.chunks,
        qa_settings(config, wildcards.model, context),
        scratch=Path(layout.work),
        shard_mb=snakemake.params.shard_mb,
        export=ExportFolder(Path(snakemake.output[0]).parent, sources, snakemake.params.shard_mb),
    )
