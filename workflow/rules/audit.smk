# The audit of the data. It runs only when asked for by name: `snakemake audit ...`, or `captionqa run my.yaml audit`.


localrules:
    audit,


# no output, so that each call audits again
rule audit:
    log:
        f"{RUN_LAYOUT.logs}/audit.log",
    retries: 0
    conda:
        "../../environment.yml"
    script:
        "../scripts/audit.py"
