# Exports: the results in the formats of `export`, each written from what was merged. None needs a server.

if workflow.is_main_process:
    from captionqa.export.lost_files import drop_lost_exports

    try:
        drop_lost_exports(CONFIG, RUN_LAYOUT)
    except OSError as error:
        refuse(error)


rule export_captions:
    input:
        # merged: an export is written again where these have changed
        captions=LAYOUT.captions(),
        chunks=caption_chunks,
        # ancient: the chunks' names hold the lists' digests
        item_lists=ancient(caption_item_lists),
        code=code(EXPORT_CODE),
    output:
        # the files beside it stay as they are where a merge wrote the same results again
        LAYOUT.export_summary(LAYOUT.caption_export()),
    log:
        f"{LAYOUT.logs}/export_captions_{{style}}_{{format}}.log",
    wildcard_constraints:
        format="|".join(CONFIG.export.captions) or "none",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 8_000,
        runtime="1d",
    params:
        style=style_of,
        shard_mb=CONFIG.export.shard_mb,
        truncated=CONFIG.export.truncated,
    script:
        "../scripts/export_captions.py"


rule export_answers:
    input:
        results=LAYOUT.qa("results", "{context}"),
        metrics=LAYOUT.qa("metrics", "{context}"),
        provenance=LAYOUT.qa("provenance", "{context}"),
        chunks=answer_chunks,
        code=code(EXPORT_CODE),
    output:
        LAYOUT.export_summary(LAYOUT.answer_export(context="{context}")),
    log:
        f"{LAYOUT.logs}/export_qa{{context}}_{{format}}.log",
    wildcard_constraints:
        format="|".join(CONFIG.export.qa) or "none",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 8_000,
        runtime="1d",
    params:
        shard_mb=CONFIG.export.shard_mb,
    script:
        "../scripts/export_answers.py"


if CONFIG.reader is not None:

    # its files are named otherwise: READER_with_MODEL_STYLE
    use rule export_answers as export_reader_answers with:
        input:
            results=LAYOUT.read_qa("results"),
            metrics=LAYOUT.read_qa("metrics"),
            provenance=LAYOUT.read_qa("provenance"),
            chunks=answer_chunks,
            code=code(EXPORT_CODE),
        output:
            LAYOUT.export_summary(LAYOUT.read_answer_export()),
        wildcard_constraints:
            format="|".join(CONFIG.export.qa) or "none",
            context=READ_CONTEXTS,
