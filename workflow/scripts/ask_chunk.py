"""Send the requests of one chunk of images or questions, and write the chunk's result."""

from pathlib import Path

from captionqa.client.chunk_job import ChunkJob
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.config import Config
from captionqa.config.data_root import data_root
from captionqa.config.model_versions import planned_version
from captionqa.config.settings import caption_settings, check_planned, qa_settings
from captionqa.run.job_log import job_log

wildcards, task = snakemake.wildcards, snakemake.params.task
config = Config.of(snakemake.config).of_data_set(wildcards.data_set)
layout, model = config.layout(wildcards.model), config.models[wildcards.model]
captioned = config.caption_set(wildcards.style) if task == "captions" else None
context = None if captioned else config.context(wildcards.context)
title = f"captions {captioned.title}" if captioned else context.title
name = f"{title} chunk {wildcards.chunk}-of-{wildcards.n}"
job = layout.job_file(name)
files_together = config.files_together(layout.questions_by_image.exists())
together = (captioned is not None or context.kind == "image") and files_together[task] > 0

with job_log(snakemake.log[0], name, layout):
    if captioned is not None:
        settings = caption_settings(config, wildcards.model, captioned.style, captioned.sample)
        work = layout.captions_work(captioned.key)
    else:
        settings, work = qa_settings(config, wildcards.model, context), layout.qa_work(context.suffix)
    check_planned(settings, wildcards.fingerprint)
    items, files = Path(snakemake.input.item_list), AnswerFiles(work)
    # what few jobs need, and all would feel at their start, is imported where it is needed
    captions = urls = None
    if context is not None and context.captions is not None:
        from captionqa.client.question_captions import planned_captions

        captions = planned_captions(config, layout, context, items, snakemake.input.captions, wildcards.digest)
    if config.sections.allows_urls(task):
        from captionqa.dataset.url_image import UrlImages

        urls = UrlImages()
    ChunkRun(
        ChunkJob(
            name=f"{wildcards.chunk}-of-{wildcards.n}",
            items=items,
            result=Path(snakemake.output[0]),
            journal=files.journal,
            progress=layout.job_progress(job),
            position=layout.job_position(job) if together else None,
            server=layout.server,
            dataset=data_root(config.section(task).data_path),
            settings=settings,
            client=config.client,
            lease_timeout_s=model.server.lease_timeout_s,
            own_servers=model.url is None,
            model_version=planned_version(layout),
            urls=urls,
            captions=captions,
            mem_mb=snakemake.resources.mem_mb,
        )
    ).run()
