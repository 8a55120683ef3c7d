"""Have one chunk of answers judged, and write the chunk's result."""

from pathlib import Path

from captionqa.client.chunk_job import ChunkJob
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.config import Config
from captionqa.config.data_root import data_root
from captionqa.config.layout import ITEMS_NAME
from captionqa.config.model_versions import planned_version
from captionqa.config.settings import check_planned, judge_settings
from captionqa.dataset.judged_answers import JudgedAnswers
from captionqa.run.job_log import job_log

wildcards = snakemake.wildcards
config = Config.of(snakemake.config).of_data_set(wildcards.data_set)
model = config.models[config.judge.model]
layout = config.layout(config.judge.model)
answers = JudgedAnswers(config, layout, wildcards.model, config.context(wildcards.context))
chunk = {"chunk": wildcards.chunk, "n": wildcards.n}
name = f"{answers.title} chunk {wildcards.chunk}-of-{wildcards.n}"

with job_log(snakemake.log[0], name, layout):
    settings = judge_settings(config)
    check_planned(settings, wildcards.fingerprint)
    ChunkRun(
        ChunkJob(
            name=f"{wildcards.chunk}-of-{wildcards.n}",
            items=Path(answers.lists) / ITEMS_NAME.format(digest=wildcards.digest, **chunk),
            result=Path(snakemake.output[0]),
            journal=AnswerFiles(answers.work).journal,
            progress=layout.job_progress(layout.job_file(name)),
            server=layout.server,
            dataset=data_root(config.section("qa").data_path),
            settings=settings,
            client=config.client,
            lease_timeout_s=model.server.lease_timeout_s,
            own_servers=model.url is None,
            model_version=planned_version(layout),
            mem_mb=snakemake.resources.mem_mb,
        )
    ).run()
