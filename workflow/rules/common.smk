# What all rules share: the checked configuration, the paths and the plan of chunks.
import re
from functools import cache

import yaml

sys.path.insert(0, str(WORKFLOW_FOLDER))

from captionqa.config.answer_files import CHUNK_NAME, AnswerFiles
from captionqa.config.check import check
from captionqa.config.contexts import READ
from captionqa.config.data_sets import with_keys_named
from captionqa.errors import CaptionqaError
from captionqa.config.exports import export_folders
from captionqa.config.layout import ITEMS_NAME, Layout
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
JUDGE = CONFIG.any_judge and CONFIG.any_judge.model
#: What servers are needed for.
SERVER_TASKS = [*TASKS, *(["judge"] if JUDGE else [])]
MODEL = CONFIG.model_name
MODELS = CONFIG.model_names
#: The values of the wildcard data_set, which follows output_dir in paths: a slash and the name, or nothing.
DATA_SETS = [layout.data_set for _, layout in CONFIG.by_data_set(CONFIG.layout())]
LAYOUT = Layout(CONFIG.output_dir, data_set="{data_set}")
#: Of the first model, with the files of the whole run, and of each model.
RUN_LAYOUT = CONFIG.layout()
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
    # empty where the only data set has no name
    data_set="|".join(map(re.escape, DATA_SETS)) or "|",
    style="|".join(re.escape(captions.key) for one in CONFIG.data_sets.values() for captions in one.caption_sets)
    or "none",
    # the suffix of questions with their images is empty
    context="|".join(
        re.escape(context.suffix) for one in CONFIG.data_sets.values() for _, context in one.answers if context.suffix
    )
    + "|",
    chunk=r"\d+",
    n=r"\d+",
    fingerprint="[0-9a-f]{12}",
    digest="[0-9a-f]{12}",


def code(patterns):
    """The package's modules that match the patterns, as inputs of a rule: a change of one runs the rule again."""
    return [workflow.source_path(f"../captionqa/{path}") for path in tracked_modules(patterns)]


def refuse(error, data_set=""):
    """End the process with one sentence, before the run has begun; an error may be of a named data set."""
    if isinstance(error, CaptionqaError):
        where = f"{data_set}: " if data_set else ""
        sys.exit(f"captionqa: {where}{printable_lines(with_keys_named(str(error), data_set))}")
    where = printable(str(error.filename or CONFIG.output_dir))
    sys.exit(f"captionqa: {where}: {error.strerror}; is output_dir a folder that you can write to?")


def of_data_set(wildcards):
    """The configuration and the paths for the data set of a job, with the job's model where it has one."""
    one = CONFIG.of_data_set(wildcards.data_set)
    return one, one.layout(wildcards.get("model"))


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
    return CaptionLinks.of(one, one.layout(model), context)


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
    files = files_of_task(one, one.layout(JUDGE), "judge")
    return {(file.judged.model, file.judged.context.suffix): file for file in files}


def judged_answers(wildcards):
    """The answers that a job of the judge is about."""
    return judged_files_of(wildcards.data_set)[wildcards.model, wildcards.context].judged


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


def asked_again(work):
    """The marker of retry-failed and forget, if there is one.

    They remove chunk results and leave the final files. Snakemake makes a missing chunk result anew only if the merge
    has a reason of its own to run: this marker, which is new or has changed.
    """
    marker = AnswerFiles(work).asked_again
    return [str(marker)] if marker.exists() else []


def pages_if_wanted():
    """The page of each data set, and that of all where they have names."""
    if not CONFIG.report.page:
        return []
    pages = [one.layout().page for one in CONFIG.data_sets.values()]
    return [*pages, RUN_LAYOUT.page] if CONFIG.named else pages


def pages_without_judge():
    """Those that show nothing of a judge."""
    judged = [one.layout().page for one in CONFIG.data_sets.values() if one.judge is not None]
    return [page for page in pages_if_wanted() if page not in judged]


def report_labels(what):
    """The labels of a part of a page in Snakemake's report, with the name of the data set where it has one."""

    def labels(wildcards):
        name = CONFIG.of_data_set(wildcards.data_set).data_set
        return {"what": what} | ({"data set": name} if name else {})

    return labels


def final_files(suffixes=None, data_sets=DATA_SETS):
    """The final files of data sets; with `suffixes`, a pair for captions and for qa, their companion files instead."""
    captions, qa = suffixes or ("", "results")
    files = []
    for one in map(CONFIG.of_data_set, data_sets):
        layouts = {model: one.layout(model) for model in MODELS}
        files += [layouts[model].captions(each.key, captions) for model in one.captioners for each in one.caption_sets]
        files += [layouts[model].qa(qa, context.suffix) for model, context in one.answers]
        if suffixes is None:
            files += [layouts[model].qa("metrics", context.suffix) for model, context in one.answers]
    return files


def graded_files():
    """The files that say how the rules grade."""
    sets = [answers.results for answers in ANSWER_SETS] + [answers.companion("metrics") for answers in ANSWER_SETS]
    return sets + comparison_if_wanted()


def judged_files(*kinds, data_sets=DATA_SETS):
    """Files of the judge beside the results of each answer set of data sets, of those that have a judge."""
    judged = [one for one in map(CONFIG.of_data_set, data_sets) if one.judge is not None]
    return [
        one.layout(model).qa(kind, context.suffix) for kind in kinds for one in judged for model, context in one.answers
    ]


def comparison_if_wanted():
    """The files of the comparison, which needs two contexts."""
    endings = ("json", "csv", "md") if len(ANSWER_SETS) > 1 else ()
    return [LAYOUT.comparison(ending) for ending in endings]


def exports():
    """The summaries of all exports, each of which is in the folder of its export."""
    parts = [(one, one.layout(model)) for one in CONFIG.data_sets.values() for model in MODELS]
    folders = [folder for one, layout in parts for _, folder in export_folders(one, layout)]
    return [LAYOUT.export_summary(folder) for folder in folders]
