"""Write the captions of one prompt style in one of the formats of `export`."""

from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings
from captionqa.dataset.image_source import ImageSources
from captionqa.export.export import export_captions
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

config, wildcards = Config.of(snakemake.config), snakemake.wildcards
layout = Layout(config.output_dir, wildcards.model)

with job_log(snakemake.log[0], f"export_captions {wildcards.style} {wildcards.format}", layout):
    end_with_run(layout.server)
    roots = [Path(root).resolve() for root in config.client.images.allowed_roots]
    export_captions(
        wildcards.format,
        snakemake.input.chunks,
        snakemake.input.item_lists,
        caption_settings(config, wildcards.model, snakemake.params.style),
        style=snakemake.params.style,
        sources=ImageSources(data_root(config.section("captions").dataset_path), roots),
        scratch=Path(layout.work),
        leave_out_truncated=snakemake.params.truncated == "leave_out",
        shard_mb=snakemake.params.shard_mb,
        folder=Path(snakemake.output.folder),
        summary_path=snakemake.output.summary,
    )
