# What is wrong or odd with the data, told when it is asked for by name: `snakemake audit ...`, or `make audit`.


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
