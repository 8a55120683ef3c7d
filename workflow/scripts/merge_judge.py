"""Put the judge's grades beside those of the rules, with their figures, failures and provenance."""

from captionqa.config.config import Config
from captionqa.config.settings import judge_settings
from captionqa.dataset.judged_answers import JudgedAnswers
from captionqa.results.judged import JudgedPaths, merge_judged
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

wildcards, written = snakemake.wildcards, snakemake.output
config = Config.of(snakemake.config).of_data_set(wildcards.data_set)
layout = config.layout(config.judge.model)
answers = JudgedAnswers(config, layout, wildcards.model, config.context(wildcards.context))

with job_log(snakemake.log[0], f"merge_{answers.title}", layout):
    end_with_run(layout.server)
    merge_judged(
        answers,
        snakemake.input.chunks,
        judge_settings(config),
        JudgedPaths(
            judged=written.judged,
            metrics=written.metrics,
            failures=written.failures,
            provenance=written.provenance,
        ),
    )
