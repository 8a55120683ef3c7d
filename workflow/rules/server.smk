# The server's life. Server settings are read by the script, never passed as params: a changed one must not start a
# server for nothing. For the same reason no rule here has inputs above the sentinel.


localrules:
    start_server,
    release,


rule start_server:
    output:
        # update: a plain output would be deleted when a start fails, and every finished chunk would run again
        sentinel=update(LAYOUT.sentinel),
        # temp: gone once its task is done, so a task with chunks to run always starts a server
        live=temp(expand(LAYOUT.live(), task=TASKS, allow_missing=True)),
    log:
        f"{LAYOUT.logs}/start_server.log",
    retries: 0  # those of a profile are for faults of a client's node
    conda:
        "../../environment.yml"
    # of the server's job under Slurm, in the names of Snakemake's Slurm executor; the profile overrides them
    resources:
        slurm_partition="gpu",
        gpu=1,
        cpus_per_task=8,
        mem_mb=64_000,
        runtime="2d",
    script:
        "../scripts/start_server.py"


rule release:
    input:
        live=LAYOUT.live(),
        chunks=task_chunks,
    output:
        LAYOUT.released(),
    log:
        f"{LAYOUT.logs}/release_{{task}}.log",
    retries: 0
    conda:
        "../../environment.yml"
    script:
        "../scripts/release.py"
