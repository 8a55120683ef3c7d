"""Send the requests of one chunk of images or questions, and write the chunk's result."""

from pathlib import Path

from captionqa.client.chunk_job import ChunkJob
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.config import Config
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.config.model_versions import planned_version
from captionqa.config.settings import caption_settings, check_planned, qa_settings
from captionqa.dataset.url_image import UrlImages
from captionqa.run.job_log import job_log

config, wildcards, task = Config.of(snakemake.config), snakemake.wildcards, snakemake.params.task
layout = Layout(config.output_dir, wildcards.model)
style = snakemake.params.get("style")
name = f"{task} {style or ''} chunk {wildcards.chunk}-of-{wildcards.n}".replace("  ", " ")

with job_log(snakemake.log[0], name, layout):
    model = config.models[wildcards.model]
    settings = caption_settings(config, wildcards.model, style) if style else qa_settings(config, wildcards.model)
    check_planned(settings, wildcards.fingerprint)
    files = AnswerFiles(layout.captions_work(style.lower()) if style else layout.qa_work)
    ChunkRun(
        ChunkJob(
            name=f"{wildcards.chunk}-of-{wildcards.n}",
            items=Path(snakemake.input.item_list),
            result=Path(snakemake.output[0]),
            journal=files.journal,
            progress=layout.job_progress(name.replace(" ", "_")),
            server=layout.server,
            dataset=data_root(config.section(task).data_path),
            settings=settings,
            client=config.client,
            lease_timeout_s=model.server.lease_timeout_s,
            own_servers=model.url is None,
            model_version=planned_version(layout),
            urls=UrlImages() if config.allows_urls(task) else None,
            mem_mb=snakemake.resources.mem_mb,
        )
    ).run()
