"""Write the captions of one prompt style in one of the formats of `export`."""

from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.data_root import data_root
from captionqa.config.settings import caption_settings
from captionqa.dataset.image_source import ImageSources
from captionqa.export.export import export_captions
from captionqa.export.target import ExportFolder
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

wildcards, given = snakemake.wildcards, snakemake.input
config = Config.of(snakemake.config).of_data_set(wildcards.data_set)
layout, captions = config.layout(wildcards.model), config.caption_set(wildcards.style)
settings = snakemake.params

with job_log(snakemake.log[0], f"export_captions {wildcards.style} {wildcards.format}", layout):
    end_with_run(layout.server)
    roots = [Path(root).resolve() for root in config.client.images.allowed_roots]
    export_captions(
        wildcards.format,
        given.chunks,
        given.item_lists,
        caption_settings(config, wildcards.model, captions.style, captions.sample),
        style=settings.style,
        sources=ImageSources(data_root(config.section("captions").dataset_path), roots),
        scratch=Path(layout.work),
        leave_out_truncated=settings.truncated == "leave_out",
        shard_mb=settings.shard_mb,
        export=ExportFolder(Path(snakemake.output[0]).parent, given, *settings),
    )
