"""Merge the chunk results of one prompt style into its captions JSON, with failures, provenance and statistics."""

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings
from captionqa.results.captions import merge_captions
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

config, model = Config.of(snakemake.config), snakemake.wildcards.model
layout = Layout(config.output_dir, model, config.model_name)
captions = config.caption_set(snakemake.wildcards.style)

with job_log(snakemake.log[0], f"merge_captions {snakemake.wildcards.style}", layout):
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
