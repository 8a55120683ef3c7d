"""Merge the chunks of one prompt style into the captions JSON and its companions."""

from captionqa.joblog import job_log
from captionqa.layout import Layout
from captionqa.lease import end_with_run
from captionqa.merge import merge_captions
from captionqa.settings import caption_settings

config, model = snakemake.config, snakemake.wildcards.model
layout = Layout(config["output_dir"], model)

with job_log(snakemake.log[0], f"merge_captions {snakemake.wildcards.style}", layout):
    end_with_run(layout.server)
    merge_captions(
        snakemake.input.chunks,
        caption_settings(config, model, snakemake.params.style),
        dataset_path=snakemake.params.dataset_path,
        captions_path=snakemake.output.captions,
        failures_path=snakemake.output.failures,
        provenance_path=snakemake.output.provenance,
    )
