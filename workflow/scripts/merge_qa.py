"""Grade the answers of all chunks and write the QA results and metrics, with failures, flips and provenance."""

from captionqa.config.config import Config
from captionqa.config.settings import qa_settings
from captionqa.grading.scoring import GradingRules
from captionqa.results.provenance import caption_source
from captionqa.results.qa import merge_qa
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

wildcards, model = snakemake.wildcards, snakemake.wildcards.model
config = Config.of(snakemake.config).of_data_set(wildcards.data_set)
layout, context = config.layout(model), config.context(wildcards.context)

with job_log(snakemake.log[0], f"merge_{context.title}", layout):
    end_with_run(layout.server)
    merge_qa(
        snakemake.input.chunks,
        snakemake.input.questions,
        qa_settings(config, model, context),
        question_path=snakemake.params.question_path,
        dataset_path=snakemake.params.dataset_path,
        hub_commits=snakemake.params.hub_commits,
        results_path=snakemake.output.results,
        metrics_path=snakemake.output.metrics,
        failures_path=snakemake.output.failures,
        provenance_path=snakemake.output.provenance,
        flips_path=snakemake.output.flips,
        graded_path=layout.graded(context.suffix),
        rules=GradingRules(**snakemake.params.rules),
        context=context,
        captions=caption_source(config, model, context),
    )
