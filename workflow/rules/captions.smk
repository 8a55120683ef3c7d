# Captions: one job per prompt style and chunk of images, then one file per style.


rule caption_chunk:
    input:
        server=ancient(LAYOUT.sentinel),
        # ancient: the result's name holds the list's digest, so a changed list already is another result
        item_list=ancient(LAYOUT.items("captions")),
    output:
        AnswerFiles(LAYOUT.captions_work()).result(),
    log:
        f"{LAYOUT.logs}/captions/{{style}}.{CHUNK_NAME.removesuffix('.jsonl')}.log",
    priority: order_of_chunk
    conda:
        "../../environment.yml"
    resources:
        chunk_slots=1,
        cpus_per_task=8,
        mem_mb=lambda wildcards, attempt: attempt * 16_000,
        runtime="2d",
    params:
        task="captions",
        style=style_of,
    script:
        "../scripts/ask_chunk.py"


rule merge_captions:
    input:
        chunks=caption_chunks,
        released=LAYOUT.released("captions"),
        asked_again=captions_asked_again,
        code=code(MERGING_CODE),
    output:
        captions=LAYOUT.captions(),
        failures=LAYOUT.captions(suffix="_failures"),
        provenance=LAYOUT.captions(suffix="_provenance"),
        statistics=LAYOUT.captions(suffix="_statistics"),
    log:
        f"{LAYOUT.logs}/merge_captions_{{style}}.log",
    priority: AHEAD_OF_CHUNKS
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 8_000,
        runtime="2h",
    params:
        style=style_of,
        # a function, since Snakemake would take {name} in a text for a wildcard
        dataset_path=lambda wildcards: of_data_set(wildcards)[0].captions.dataset_path,
        hub_commits=lambda wildcards: of_data_set(wildcards)[0].sections.hub_commits("captions"),
    script:
        "../scripts/merge_captions.py"
