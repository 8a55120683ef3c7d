# The workflow itself is in workflow/Snakefile; this one makes `snakemake` work from the top of the repository. Including
# alone does not carry over the default target, so it is declared again.
include: "workflow/Snakefile"


localrules:
    default,


rule default:
    default_target: True
    input:
        rules.all.input,
