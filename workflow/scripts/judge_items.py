"""List the answers that the judge gets, by chunk."""

from captionqa.config.config import Config
from captionqa.dataset.judged_answers import JudgedAnswers
from captionqa.results.judge_items import write_judge_items
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

wildcards = snakemake.wildcards
config = Config.of(snakemake.config).of_data_set(wildcards.data_set)
layout = config.layout(config.judge.model)
answers = JudgedAnswers(config, layout, wildcards.model, config.context(wildcards.context))

with job_log(snakemake.log[0], f"list_items to {answers.title}", layout):
    end_with_run(layout.server)
    write_judge_items(answers, snakemake.input.results, snakemake.input.questions, snakemake.output[0])
