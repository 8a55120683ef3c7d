# Questions: one job per context and chunk of questions, then grading once the server is no longer needed.


rule answer_chunk:
    input:
        server=ancient(LAYOUT.sentinel),
        # ancient: the result's name holds the list's digest, so a changed list already is another result
        item_list=ancient(item_list_of),
        captions=captions_of_chunk,
    output:
        AnswerFiles(LAYOUT.qa_work("{context}")).result(),
    log:
        f"{LAYOUT.logs}/qa{{context}}/{CHUNK_NAME.removesuffix('.jsonl')}.log",
    wildcard_constraints:
        digest=r"[0-9a-f]{12}(\.[0-9a-f]{12})?",
    priority: order_of_chunk
    conda:
        "../../environment.yml"
    resources:
        # questions without their images share no cache
        chunk_slots=lambda wildcards: int(not wildcards.context),
        cpus_per_task=8,
        mem_mb=lambda wildcards, attempt: attempt * 16_000,
        runtime="2d",
    params:
        task="qa",
    script:
        "../scripts/ask_chunk.py"


rule merge_qa:
    input:
        chunks=answer_chunks,
        questions=question_rows,
        released=LAYOUT.released("qa"),
        asked_again=answers_asked_again,
        code=code(MERGING_CODE + GRADING_CODE),
    output:
        results=LAYOUT.qa("results", "{context}"),
        metrics=LAYOUT.qa("metrics", "{context}"),
        failures=LAYOUT.qa("failures", "{context}"),
        flips=LAYOUT.qa("flips", "{context}"),
        provenance=LAYOUT.qa("provenance", "{context}"),
    log:
        f"{LAYOUT.logs}/merge_qa{{context}}.log",
    priority: AHEAD_OF_CHUNKS
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 8_000,
        runtime="2h",
    params:
        # functions, since Snakemake would take {name} in a text for a wildcard
        question_path=lambda wildcards: of_data_set(wildcards)[0].qa.question_path,
        dataset_path=lambda wildcards: of_data_set(wildcards)[0].qa.dataset_path,
        hub_commits=lambda wildcards: of_data_set(wildcards)[0].sections.hub_commits("qa"),
        rules=grading_rules,
    script:
        "../scripts/merge_qa.py"


if CONFIG.reader is not None:

    # its files are named otherwise: READER_with_MODEL_STYLE
    use rule merge_qa as merge_reader_qa with:
        output:
            results=LAYOUT.read_qa("results"),
            metrics=LAYOUT.read_qa("metrics"),
            failures=LAYOUT.read_qa("failures"),
            flips=LAYOUT.read_qa("flips"),
            provenance=LAYOUT.read_qa("provenance"),
        wildcard_constraints:
            context=READ_CONTEXTS,
