# The page of several data sets, beside which each has its own.


rule grid_page:
    input:
        provenance=final_files(("_provenance", "provenance")),
        comparison=comparison_if_wanted(),
        code=code(PAGE_CODE),
    output:
        RUN_LAYOUT.page,
    log:
        f"{RUN_LAYOUT.logs}/grid_page.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=4_000,
        runtime="1h",
    script:
        "../scripts/grid_page.py"
