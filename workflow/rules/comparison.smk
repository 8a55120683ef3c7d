# The comparison of contexts: what the picture and the caption add, from the merged answers. It needs no server.


rule compare_contexts:
    input:
        results=[answers.results for answers in ANSWER_SETS],
        failures=[answers.companion("failures") for answers in ANSWER_SETS],
        code=code(COMPARISON_CODE),
    output:
        json=LAYOUT.comparison("json"),
        csv=LAYOUT.comparison("csv"),
        markdown=LAYOUT.comparison("md"),
    log:
        f"{RUN_LAYOUT.logs}/compare_contexts.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 4_000,
        runtime="2h",
    params:
        # in the order of the results
        contexts=[answers.as_compared() for answers in ANSWER_SETS],
    script:
        "../scripts/compare_contexts.py"
