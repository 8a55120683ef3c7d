"""Compare the contexts that the questions were asked in."""

from captionqa.config.config import Config
from captionqa.results.answer_sets import AnswerSet
from captionqa.results.comparison_files import write_comparison
from captionqa.run.job_log import job_log
from captionqa.run.lease import end_with_run

config = Config.of(snakemake.config)
layout = config.layout()

with job_log(snakemake.log[0], "compare_contexts", layout):
    end_with_run(layout.server)
    write_comparison(
        [
            AnswerSet(model, context, results, *others)
            for (model, context, *others), results in zip(
                snakemake.params.contexts, snakemake.input.results, strict=True
            )
        ],
        json_path=snakemake.output.json,
        csv_path=snakemake.output.csv,
        markdown_path=snakemake.output.markdown,
    )
