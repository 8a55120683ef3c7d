# The page of several data sets, beside which each has its own.


rule page_of_all:
    input:
        provenance=final_files(("_provenance", "provenance")),
        comparison=comparison_if_wanted(),
        # where the judge fails, the end of the run makes the page
        judged=judged_files("judge_metrics", "judge_provenance"),
        code=code(PAGE_CODE),
    output:
        RUN_LAYOUT.page,
    log:
        f"{RUN_LAYOUT.logs}/page_of_all.log",
    # as of rule page
    retries: 1
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4_000,
        runtime="1h",
        attempt=lambda wildcards, attempt: attempt,
    script:
        "../scripts/page_of_all.py"
