# The judge: lists of the answers that it gets, made of the graded results, then one job per chunk of the questions. All
# edges but that to its server are plain, so that what is graded anew is judged anew; what the judge said is in its journal.

#: The judge's files; the wildcard model is who answered.
JUDGE_LAYOUT = Layout(CONFIG.output_dir, JUDGE, data_set="{data_set}")


rule judge_items:
    input:
        results=lambda wildcards: judged_answers(wildcards).path("results"),
        questions=question_rows,
        code=code(JUDGED_CODE),
    output:
        # in the name is what decides which answers are judged
        f"{JUDGE_LAYOUT.judge_work()}/items/{{digest}}.json",
    log:
        f"{JUDGE_LAYOUT.logs}/judge_items/{{model}}/qa{{context}}.{{digest}}.log",
    priority: AHEAD_OF_CHUNKS
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 4_000,
        runtime="2h",
    script:
        "../scripts/judge_items.py"


rule judge_chunk:
    input:
        server=ancient(JUDGE_LAYOUT.sentinel),
        lists=judge_lists,
    output:
        AnswerFiles(JUDGE_LAYOUT.judge_work()).result(),
    log:
        f"{JUDGE_LAYOUT.logs}/judge/{{model}}/qa{{context}}/{CHUNK_NAME.removesuffix('.jsonl')}.log",
    wildcard_constraints:
        digest=r"[0-9a-f]{12}\.[0-9a-f]{12}",
    priority: order_of_chunk
    conda:
        "../../environment.yml"
    resources:
        cpus_per_task=8,
        mem_mb=lambda wildcards, attempt: attempt * 16_000,
        runtime="2d",
    script:
        "../scripts/judge_chunk.py"


rule merge_judge:
    input:
        results=lambda wildcards: judged_answers(wildcards).path("results"),
        metrics=lambda wildcards: judged_answers(wildcards).path("metrics"),
        lists=judge_lists,
        chunks=judge_chunks,
        released=JUDGE_LAYOUT.released("judge"),
        asked_again=judge_asked_again,
        code=code(MERGING_CODE + GRADING_CODE),
    output:
        judged=LAYOUT.qa("judged", "{context}"),
        metrics=LAYOUT.qa("judge_metrics", "{context}"),
        failures=LAYOUT.qa("judge_failures", "{context}"),
        provenance=LAYOUT.qa("judge_provenance", "{context}"),
    log:
        f"{LAYOUT.logs}/merge_judge{{context}}.log",
    priority: AHEAD_OF_CHUNKS
    conda:
        "../../environment.yml"
    resources:
        mem_mb=lambda wildcards, attempt: attempt * 8_000,
        runtime="2h",
    params:
        decides=lambda wildcards: of_data_set(wildcards)[0].judge.decides,
    script:
        "../scripts/merge_judge.py"


if CONFIG.reader is not None:

    # its files are named otherwise: READER_with_MODEL_STYLE
    use rule merge_judge as merge_reader_judge with:
        output:
            judged=LAYOUT.read_qa("judged"),
            metrics=LAYOUT.read_qa("judge_metrics"),
            failures=LAYOUT.read_qa("judge_failures"),
            provenance=LAYOUT.read_qa("judge_provenance"),
        wildcard_constraints:
            context=READ_CONTEXTS,
