# The server's life. The script reads server settings from the configuration; they are not params, since a changed
# param would start a server although no chunk needs one. For the same reason start_server has no inputs but those
# that put the servers of several models in an order, a judge's after all that needs none. These are not ancient:
# Snakemake looks at no trigger below a job that runs, so behind an ancient edge it would leave the next model's
# answers as they are. The script starts no server for nothing.


localrules:
    start_server,
    release,


rule start_server:
    input:
        servers_before,
    output:
        # update: if a start fails, Snakemake deletes a plain output, and then every finished chunk would run again
        sentinel=update(LAYOUT.sentinel),
        # temp: deleted once its task is released, so a task with chunks to run always starts a server
        live=temp(
            [
                Layout(CONFIG.output_dir).of_data_set(name).live(task)
                for name, one in CONFIG.data_sets.items()
                for task in (*one.tasks, *(["judge"] if one.judge else []))
            ]
        ),
    log:
        f"{LAYOUT.server_logs}/start_server.log",
    priority: AHEAD_OF_MERGES
    retries: 0  # a profile's retries are for faults of a client's node
    conda:
        "../../environment.yml"
    # the server's job under Slurm, in the resource names of Snakemake's Slurm executor; the profile overrides them, for
    # each model by expressions of wildcards.model
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
    priority: AHEAD_OF_MERGES
    retries: 0
    conda:
        "../../environment.yml"
    script:
        "../scripts/release.py"
