# What all rules share: the checked configuration, the paths and the plan of chunks.
import re
from functools import cache

import yaml

sys.path.insert(0, str(WORKFLOW_FOLDER))

from captionqa.config.answer_files import CHUNK_NAME, AnswerFiles
from captionqa.config.check import check
from captionqa.config.contexts import READ
from captionqa.errors import CaptionqaError
from captionqa.config.exports import export_folders
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings, fingerprint
from captionqa.results.answer_sets import answer_sets
from captionqa.results.tracked_code import (
    COMPARISON_CODE,
    EXPORT_CODE,
    GRADING_CODE,
    JUDGED_CODE,
    MERGING_CODE,
    PAGE_CODE,
    tracked_modules,
)
from captionqa.run.job_environment import prefer_checkout
from captionqa.shown_text import printable, printable_lines

prefer_checkout()

try:
    CONFIG = check(config, yaml.safe_load(Path(workflow.source_path("../schemas/config.schema.yaml")).read_text()))
except CaptionqaError as error:
    sys.exit(f"captionqa: {printable_lines(str(error))}")

TASKS = CONFIG.tasks
#: The model that judges answers; None where none does.
JUDGE = CONFIG.judge and CONFIG.judge.model
#: What servers are needed for.
SERVER_TASKS = [*TASKS, *(["judge"] if JUDGE else [])]
MODEL = CONFIG.model_name
MODELS = CONFIG.model_names
LAYOUT = Layout(CONFIG.output_dir)
CAPTION_SETS = {captions.key: captions for captions in CONFIG.caption_sets}
#: Of the first model, with the files of the whole run, and of each model.
RUN_LAYOUT = Layout(CONFIG.output_dir, MODEL)
LAYOUTS = {layout.model: layout for layout in RUN_LAYOUT.of_models(MODELS)}
ANSWER_SETS = answer_sets(CONFIG, RUN_LAYOUT)

if workflow.is_main_process:
    from captionqa.server.lifecycle import check_model_path, drop_stale_live_markers
    from captionqa.server.slurm_client_jobs import end_killed_run

    from captionqa.dataset.hub_data import plan_hub_data
    from captionqa.driver.planned_model import plan_model
    from captionqa.driver.terminal import print_message

    for layout in LAYOUTS.values():
        drop_stale_live_markers(layout)
        end_killed_run(layout)
    try:
        CONFIG = plan_hub_data(CONFIG, RUN_LAYOUT)
    except CaptionqaError as error:
        sys.exit(f"captionqa: {printable_lines(str(error))}")
    PLANNED_MODELS = {}
    for name, layout in LAYOUTS.items():
        PLANNED_MODELS[name] = plan_model(CONFIG, layout)
        CONFIG = PLANNED_MODELS[name].config
        if PLANNED_MODELS[name].message:
            print_message(PLANNED_MODELS[name].message)
else:
    from captionqa.run.lease import LeaseWatch

    if reason := LeaseWatch(RUN_LAYOUT.server, float("inf")).end_reason():
        sys.exit(f"captionqa: this job's run is over: {reason}")

#: The priority of jobs that need no server and that others wait for, above that of any chunk.
AHEAD_OF_CHUNKS = 2


wildcard_constraints:
    model="|".join(map(re.escape, MODELS)),
    task="|".join(SERVER_TASKS),
    style="|".join(key.replace(".", r"\.") for key in CAPTION_SETS) or "none",
    # the suffix of questions with their images is empty
    context="|".join(re.escape(context.suffix) for _, context in CONFIG.answers if context.suffix) + "|",
    chunk=r"\d+",
    n=r"\d+",
    fingerprint="[0-9a-f]{12}",
    digest="[0-9a-f]{12}",


def code(patterns):
    """The package's modules that match the patterns, as inputs of a rule: a change of one runs the rule again."""
    return [workflow.source_path(f"../captionqa/{path}") for path in tracked_modules(patterns)]


def refuse(error):
    """End the process with one sentence, before the run has begun."""
    if isinstance(error, CaptionqaError):
        sys.exit(f"captionqa: {printable_lines(str(error))}")
    where = printable(str(error.filename or CONFIG.output_dir))
    sys.exit(f"captionqa: {where}: {error.strerror}; is output_dir a folder that you can write to?")


@cache
def plan(task):
    """The chunks of one task: the driver scans the data for them, a job reads what the driver wrote."""
    from captionqa.dataset.plan import load_plan
    from captionqa.dataset.planning import plan_task

    try:
        if not workflow.is_main_process:
            return load_plan(RUN_LAYOUT, task)
        check_hooks()
        for model in MODELS:
            check_model_path(CONFIG, model)
        if task == "captions" and CONFIG.captions.of_questions:
            plan("qa")
        scan = plan("captions").scan if task == "qa" and CONFIG.tasks_share_images else ""
        return plan_task(CONFIG, RUN_LAYOUT, task, scan)
    except (CaptionqaError, OSError) as error:
        refuse(error)


def order_of_chunk(wildcards):
    """The priority of a chunk's job, at most 1: a chunk of all styles comes before the next one, since they share images.

    None is negative: Snakemake's scheduler would leave cores idle for such a job.
    """
    return 1 - int(wildcards.chunk) / int(wildcards.n)


def caption_chunks(wildcards):
    captions = CAPTION_SETS[wildcards.style]
    settings = caption_settings(CONFIG, wildcards.model, captions.style, captions.sample)
    return plan("captions").results(LAYOUTS[wildcards.model].captions_work(wildcards.style), fingerprint(settings))


def caption_item_lists(wildcards):
    return plan("captions").item_lists(RUN_LAYOUT, "captions")


@cache
def caption_links(model, suffix):
    """What the chunks of questions in a context with captions wait for; None in any other context."""
    from captionqa.dataset.caption_links import CaptionLinks

    plan("qa")
    context = CONFIG.context(suffix)
    if context.is_of_run:
        plan("captions")
    return CaptionLinks.of(CONFIG, LAYOUTS[model], context)


@cache
def planned_results(model, task):
    """{name of a final file: the results of its chunks} of a task of a model."""
    from captionqa.dataset.final_files import final_files as files_of_task

    plan("captions" if task == "captions" else "qa")
    for answering, context in [] if task == "captions" else CONFIG.answers:
        if task == "judge" or answering == model:
            caption_links(answering, context.suffix)
    layout = LAYOUTS[model]
    return {file.name: file.results(CONFIG, layout) for file in files_of_task(CONFIG, layout, task)}


@cache
def judged_files_of(judge):
    """{(who answered, the suffix of the context): the final file of the judge}."""
    from captionqa.dataset.final_files import final_files as files_of_task

    planned_results(judge, "judge")
    files = files_of_task(CONFIG, LAYOUTS[judge], "judge")
    return {(file.judged.model, file.judged.context.suffix): file for file in files}


def judged_answers(wildcards):
    """The answers that a job of the judge is about."""
    return judged_files_of(JUDGE)[wildcards.model, wildcards.context].judged


def judge_chunks(wildcards):
    return planned_results(JUDGE, "judge")[judged_answers(wildcards).title]


def answer_chunks(wildcards):
    return planned_results(wildcards.model, "qa")[CONFIG.context(wildcards.context).title]


def item_list_of(wildcards):
    """The list of a chunk of questions, whose digest in the name of its result one of captions may follow."""
    digest = wildcards.digest.partition(".")[0]
    return LAYOUT.items("qa").format(chunk=wildcards.chunk, n=wildcards.n, digest=digest)


def captions_of_chunk(wildcards):
    """What holds the captions that a chunk of questions is asked with, if it is."""
    links = caption_links(wildcards.model, wildcards.context)
    return [] if links is None else links.paths[int(wildcards.chunk)]


def question_rows(wildcards):
    return LAYOUT.question_rows(plan("qa").rows)


def task_chunks(wildcards):
    return [path for results in planned_results(wildcards.model, wildcards.task).values() for path in results]


def servers_before(wildcards):
    """What says that the servers of the models before this one are no longer needed, where one follows the other.

    A judge that does nothing else begins once the answers are graded: whatever befalls it, these files are there. It is
    known then whether it gets any.
    """
    model = wildcards.model
    before = [] if CONFIG.servers == "side_by_side" else MODELS[: MODELS.index(model)]
    released = [LAYOUTS[other].released(task) for other in before for task in CONFIG.tasks_of(other)]
    if model != CONFIG.judge_alone:
        return released
    return [*released, *graded_files(), *(file.judged.index for file in judged_files_of(model).values())]


def asked_again(work):
    """The marker of retry-failed and forget, if there is one.

    They remove chunk results and leave the final files. Snakemake makes a missing chunk result anew only if the merge
    has a reason of its own to run: this marker, which is new or has changed.
    """
    marker = AnswerFiles(work).asked_again
    return [str(marker)] if marker.exists() else []


def page_if_wanted():
    return [LAYOUT.page] if CONFIG.report.page else []


def final_files(suffixes=None):
    """The final files; with `suffixes`, a pair for captions and for qa, their companion files instead."""
    captions, qa = suffixes or ("", "results")
    files = [LAYOUTS[model].captions(key, captions) for model in CONFIG.captioners for key in CAPTION_SETS]
    files += [LAYOUTS[model].qa(qa, context.suffix) for model, context in CONFIG.answers]
    if suffixes is None:
        files += [LAYOUTS[model].qa("metrics", context.suffix) for model, context in CONFIG.answers]
    return files


def graded_files():
    """The files that say how the rules grade."""
    kinds = ("results", "metrics")
    files = [LAYOUTS[model].qa(kind, context.suffix) for model, context in CONFIG.answers for kind in kinds]
    return files + comparison_if_wanted()


def judged_files(*kinds):
    """Files of the judge beside the results of each answer set, if there is a judge."""
    answers = CONFIG.answers if JUDGE else []
    return [LAYOUTS[model].qa(kind, context.suffix) for kind in kinds for model, context in answers]


def comparison_if_wanted():
    """The files of the comparison, which needs two contexts."""
    endings = ("json", "csv", "md") if len(ANSWER_SETS) > 1 else ()
    return [LAYOUT.comparison(ending) for ending in endings]


def exports():
    """The summaries of all exports, each of which is in the folder of its export."""
    folders = [folder for layout in LAYOUTS.values() for _, folder in export_folders(CONFIG, layout)]
    return [LAYOUT.export_summary(folder) for folder in folders]
