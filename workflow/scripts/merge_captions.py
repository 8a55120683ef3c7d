"""Merge the chunk results of one prompt style into its captions JSON, with failures, provenance and statistics."""

from captionqa.config.config import Config
from captionqa.config.settings import caption_settings
from captionqa.results.captions import merge_captions
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

wildcards, model = snakemake.wildcards, snakemake.wildcards.model
config = Config.of(snakemake.config).of_data_set(wildcards.data_set)
layout, captions = config.layout(model), config.caption_set(wildcards.style)

with job_log(snakemake.log[0], f"merge_captions {wildcards.style}", layout):
    end_with_run(layout.server)
    merge_captions(
        snakemake.input.chunks,
        caption_settings(config, model, captions.style, captions.sample),
        dataset_path=snakemake.params.dataset_path,
        hub_commits=snakemake.params.hub_commits,
        captions_path=snakemake.output.captions,
        failures_path=snakemake.output.failures,
        provenance_path=snakemake.output.provenance,
        statistics_path=snakemake.output.statistics,
    )
