# What is wrong or odd with the data, on request alone: `captionqa audit my.yaml`, or `snakemake audit ...`.


localrules:
    audit,


# without an output, so that it looks anew each time
rule audit:
    log:
        f"{RUN_LAYOUT.logs}/audit.log",
    retries: 0
    conda:
        "../../environment.yml"
    script:
        "../scripts/audit.py"
