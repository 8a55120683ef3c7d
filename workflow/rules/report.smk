# After the merges: the page that shows the results, then fail the run if too many items have no result.


#: Of each data set, for all models.
PAGE_LAYOUT = Layout(CONFIG.output_dir, MODEL, data_set="{data_set}")


localrules:
    check_failures,


rule page:
    input:
        results=lambda wildcards: final_files(data_sets=[wildcards.data_set]),
        failures=lambda wildcards: final_files(("_failures", "failures"), [wildcards.data_set]),
        provenance=lambda wildcards: final_files(("_provenance", "provenance"), [wildcards.data_set]),
        comparison=comparison_if_shown,
        # where the judge fails, the end of the run makes the page
        judged=lambda wildcards: judged_files(
            "judged", "judge_metrics", "judge_failures", "judge_provenance", data_sets=[wildcards.data_set]
        ),
        code=code(PAGE_CODE),
    output:
        PAGE_LAYOUT.page,
        report(
            PAGE_LAYOUT.page_in_one_file,
            caption="../report/results.rst",
            category="Results",
            labels=report_labels("Results and captions with their images"),
        ),
        report(
            PAGE_LAYOUT.page_tables,
            caption="../report/tables.rst",
            category="Results",
            labels=report_labels("Tables: accuracy, counts, settings"),
        ),
    log:
        f"{PAGE_LAYOUT.logs}/page.log",
    # only a killed job fails; the second attempt leaves the page out, since the results are complete without it
    retries: 1
    conda:
        "../../environment.yml"
    resources:
        cpus_per_task=4,
        mem_mb=8_000,
        runtime="2h",
        attempt=lambda wildcards, attempt: attempt,
    script:
        "../scripts/page.py"


rule check_failures:
    input:
        # a run that fails here has its pages
        page=pages_if_wanted(),
        failures=final_files(("_failures", "failures")) + judged_files("judge_failures"),
        provenance=final_files(("_provenance", "provenance")) + judged_files("judge_provenance"),
        # first the exports: the gate ends a run with too many failures
        exports=exports(),
    output:
        RUN_LAYOUT.failures_checked,
    log:
        f"{RUN_LAYOUT.logs}/check_failures.log",
    retries: 0
    conda:
        "../../environment.yml"
    params:
        max_failed_fraction=CONFIG.client.max_failed_fraction,
        count_data_faults=CONFIG.client.count_data_faults,
    script:
        "../scripts/check_failures.py"
