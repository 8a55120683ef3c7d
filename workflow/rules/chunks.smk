# The chunks of each task, by the plan of its data, and what their jobs wait for.
import os
from functools import cache

from captionqa.config.layout import ITEMS_NAME
from captionqa.config.settings import caption_settings, fingerprint
from snakemake.io import IOFile


@cache
def plan(data_set, task):
    """The chunks of one task of a data set: the driver scans the data for them, a job reads what the driver wrote."""
    from captionqa.dataset.plan import load_plan
    from captionqa.dataset.planning import plan_task

    one = CONFIG.of_data_set(data_set)
    try:
        if not workflow.is_main_process:
            return load_plan(one.layout(), task)
        check_hooks()
        for model in MODELS:
            check_model_path(CONFIG, model)
        if task == "captions" and one.captions.of_questions:
            plan(data_set, "qa")
        scan = plan(data_set, "captions").scan if task == "qa" and one.sections.share_images else ""
        return plan_task(one, one.layout(), task, scan)
    except (CaptionqaError, OSError) as error:
        refuse(error, one.data_set)


def order_of_chunk(wildcards):
    """The priority of a chunk's job, at most 1: a chunk of all styles comes before the next one, since they share images.

    Those of a data set come before those of the next one. None is negative: Snakemake's scheduler would leave cores idle
    for such a job.
    """
    after = DATA_SETS.index(wildcards.data_set) + int(wildcards.chunk) / int(wildcards.n)
    return 1 - after / len(DATA_SETS)


def style_of(wildcards):
    return of_data_set(wildcards)[0].caption_set(wildcards.style).style


def caption_chunks(wildcards):
    one, layout = of_data_set(wildcards)
    captions = one.caption_set(wildcards.style)
    settings = caption_settings(one, wildcards.model, captions.style, captions.sample)
    return plan(wildcards.data_set, "captions").results(layout.captions_work(captions.key), fingerprint(settings))


def caption_item_lists(wildcards):
    return plan(wildcards.data_set, "captions").item_lists(of_data_set(wildcards)[1], "captions")


@cache
def caption_links(data_set, model, suffix):
    """What the chunks of questions in a context with captions wait for; None in any other context."""
    from captionqa.dataset.caption_links import CaptionLinks

    plan(data_set, "qa")
    one = CONFIG.of_data_set(data_set)
    context = one.context(suffix)
    if context.is_of_run:
        plan(data_set, "captions")
    try:
        return CaptionLinks.of(one, one.layout(model), context)
    except (CaptionqaError, OSError) as error:
        refuse(error, one.data_set)


@cache
def planned_results(data_set, model, task):
    """{name of a final file: the results of its chunks} of a task of a model and data set."""
    from captionqa.dataset.final_files import final_files as files_of_task

    one = CONFIG.of_data_set(data_set)
    plan(data_set, "captions" if task == "captions" else "qa")
    for answering, context in [] if task == "captions" else one.answers:
        if task == "judge" or answering == model:
            caption_links(data_set, answering, context.suffix)
    layout = one.layout(model)
    return {file.name: file.results(one, layout) for file in files_of_task(one, layout, task)}


@cache
def judged_files_of(data_set):
    """{(who answered, the suffix of the context): the final file of the judge} of a data set."""
    from captionqa.dataset.final_files import final_files as files_of_task

    one = CONFIG.of_data_set(data_set)
    if one.judge is None:
        return {}
    planned_results(data_set, JUDGE, "judge")
    files = list(files_of_task(one, one.layout(JUDGE), "judge"))
    if workflow.is_main_process and live_lease(LAYOUTS[JUDGE].server) is None:
        try:
            for file in files:
                file.judged.drop_damaged_lists()
        except OSError as error:
            # raised here, Snakemake would pass over it where the judge's files are there
            refuse(error, one.data_set)
    return {(file.judged.model, file.judged.context.suffix): file for file in files}


def judged_answers(wildcards):
    """The answers that a job of the judge is about."""
    return judged_files_of(wildcards.data_set)[wildcards.model, wildcards.context].judged


@cache
def index_of_lists(data_set, model, context):
    return judged_files_of(data_set)[model, context].judged.index


def judge_lists(wildcards):
    """What is written with the lists of the answers that a job of the judge is about."""
    return index_of_lists(wildcards.data_set, wildcards.model, wildcards.context)


def judge_chunks(wildcards):
    return planned_results(wildcards.data_set, JUDGE, "judge")[judged_answers(wildcards).title]


def answer_chunks(wildcards):
    context = of_data_set(wildcards)[0].context(wildcards.context)
    return planned_results(wildcards.data_set, wildcards.model, "qa")[context.title]


def item_list_of(wildcards):
    """The list of a chunk of questions, whose digest in the name of its result one of captions may follow."""
    digest = wildcards.digest.partition(".")[0]
    items = ITEMS_NAME.format(chunk=wildcards.chunk, n=wildcards.n, digest=digest)
    return of_data_set(wildcards)[1].items("qa", items)


def captions_of_chunk(wildcards):
    """What holds the captions that a chunk of questions is asked with, if it is."""
    links = caption_links(wildcards.data_set, wildcards.model, wildcards.context)
    return [] if links is None else links.paths[int(wildcards.chunk)]


def question_rows(wildcards):
    return of_data_set(wildcards)[1].question_rows(plan(wildcards.data_set, "qa").rows)


def task_chunks(wildcards):
    results = planned_results(wildcards.data_set, wildcards.model, wildcards.task)
    return [path for paths in results.values() for path in paths]


def released_tasks(model):
    """What says of each task of each data set that it needs the server of a model no longer."""
    parts = CONFIG.by_data_set(LAYOUTS[model])
    return [layout.released(task) for one, layout in parts for task in one.tasks_of(model)]


def servers_before(wildcards):
    """What says that the servers of the models before this one are no longer needed, where one follows the other.

    A judge that does nothing else begins once all that needs no judge is written, as the grades, the exports and the
    pages of other data sets: whatever befalls it, these files are there. It is known then whether it gets any.
    """
    model = wildcards.model
    before = [] if CONFIG.servers == "side_by_side" else MODELS[: MODELS.index(model)]
    released = [path for other in before for path in released_tasks(other)]
    if model != CONFIG.judge_alone:
        return released
    indexes = [file.judged.index for data_set in DATA_SETS for file in judged_files_of(data_set).values()]
    return [*released, *graded_files(), *exports(), *pages_without_judge(), *indexes]


def grading_rules(wildcards):
    """The keys of `qa` that decide how answers are graded; they change no request."""
    qa = of_data_set(wildcards)[0].qa
    return {key: getattr(qa, key) for key in ("scoring", "answer_is", "relative_tolerance")}


def captions_asked_again(wildcards):
    layout = of_data_set(wildcards)[1]
    paths = (layout.captions(wildcards.style, suffix) for suffix in ("", "_provenance"))
    return asked_again(layout.captions_work(wildcards.style), *paths, caption_chunks(wildcards))


def answers_asked_again(wildcards):
    layout = of_data_set(wildcards)[1]
    paths = (layout.qa(kind, wildcards.context) for kind in ("results", "provenance"))
    return asked_again(layout.qa_work(wildcards.context), *paths, answer_chunks(wildcards), grading_rules(wildcards))


def judge_asked_again(wildcards):
    answers = judged_answers(wildcards)
    return asked_again(answers.work, answers.path("judged"), answers.path("judge_provenance"), judge_chunks(wildcards))


def asked_again(work, merged, provenance, chunks, rules=None):
    """The marker of retry-failed and forget, if there is one.

    They remove chunk results and leave the final files. Snakemake makes a missing chunk result anew only if the merge
    has a reason of its own to run: this marker, which is new or has changed. So it is written where the merged file is
    not made from these chunks and rules, and Snakemake does not know what it was made from.
    """
    marker = AnswerFiles(work).asked_again
    if workflow.is_main_process and not is_recorded(merged) and live_lease(RUN_LAYOUT.server) is None:
        from captionqa.results.made_from import is_made_from, made_from

        try:
            if os.path.exists(merged) and not is_made_from(provenance, made_from(chunks, rules)):
                AnswerFiles(work).let_merge_run()
        except OSError as error:
            refuse(error)
    return [str(marker)] if marker.exists() else []


def is_recorded(path):
    """Whether Snakemake has a record of the job that made this file as it is."""
    record = workflow.persistence.metadata(IOFile(path))
    return record is not None and os.path.exists(path) and os.path.getmtime(path) < (record.endtime or 0) + 1
