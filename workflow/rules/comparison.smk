# The comparison of contexts: what the picture and the caption add, from the merged answers. It needs no server.


rule compare_contexts:
    input:
        results=[results for _, _, results, _ in answer_sets()],
        failures=[failures for _, _, _, failures in answer_sets()],
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
        contexts=[answered_as(model, context) for model, context, _, _ in answer_sets()],
    script:
        "../scripts/compare_contexts.py"
