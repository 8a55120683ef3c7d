# After the merges: fail the run if too many items have no result.


localrules:
    check_failures,


rule check_failures:
    input:
        failures=final_files(("_failures", "failures")),
        provenance=final_files(("_provenance", "provenance")),
        # first the exports: the gate ends a run with too many failures
        exports=exports(),
    output:
        LAYOUT.failures_checked,
    log:
        f"{LAYOUT.logs}/check_failures.log",
    retries: 0
    conda:
        "../../environment.yml"
    params:
        max_failed_fraction=CONFIG.client.max_failed_fraction,
        count_data_faults=CONFIG.client.count_data_faults,
    script:
        "../scripts/check_failures.py"
