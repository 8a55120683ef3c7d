# What all rules share: the checked configuration, the paths and the wildcards.
import re

sys.path.insert(0, str(WORKFLOW_FOLDER))

from captionqa.config.answer_files import CHUNK_NAME, AnswerFiles
from captionqa.config.check import check, read_schema
from captionqa.config.contexts import READ
from captionqa.config.data_sets import with_keys_named
from captionqa.errors import CaptionqaError
from captionqa.config.layout import Layout
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
    CONFIG = check(config, read_schema())
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
#: Those of the contexts of all data sets, each once.
SUFFIXES = list(dict.fromkeys(context.suffix for one in CONFIG.data_sets.values() for _, context in one.answers))
#: Of these the ones in which a reader answers from captions. Its files of a judge are of no other context.
READ_CONTEXTS = "|".join(re.escape(suffix) for suffix in SUFFIXES if suffix.startswith(READ)) or "none"

if workflow.is_main_process:
    from captionqa.server.lifecycle import check_model_path, drop_stale_live_markers
    from captionqa.server.slurm_client_jobs import end_killed_run

    from captionqa.dataset.hub_data import plan_hub_data
    from captionqa.driver.output_folder import check_output_folder
    from captionqa.driver.planned_model import plan_model
    from captionqa.driver.terminal import print_message
    from captionqa.run.lease import live_lease

    try:
        check_output_folder(CONFIG, RUN_LAYOUT)
        for layout in LAYOUTS.values():
            drop_stale_live_markers(layout)
            end_killed_run(layout)
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
#: That of the start and the release of servers, since a GPU waits for both.
AHEAD_OF_MERGES = 3


wildcard_constraints:
    model="|".join(map(re.escape, MODELS)),
    task="|".join(SERVER_TASKS),
    # empty where the only data set has no name
    data_set="|".join(map(re.escape, DATA_SETS)) or "|",
    style="|".join(re.escape(captions.key) for one in CONFIG.data_sets.values() for captions in one.caption_sets)
    or "none",
    # the suffix of questions with their images is empty
    context="|".join(map(re.escape, filter(None, SUFFIXES))) + "|",
    chunk=r"\d+",
    n=r"\d+",
    fingerprint="[0-9a-f]{12}",
    digest="[0-9a-f]{12}",


def code(patterns):
    """The package's modules that match the patterns, as inputs of a rule: a change of one runs the rule again.

    They are named as workflow.source_path names them in the records of a run, but not copied at each start as it does.
    """
    return [f"{WORKFLOW_FOLDER}/rules/../captionqa/{path}" for path in tracked_modules(patterns)]


def refuse(error, data_set=""):
    """End the process with one sentence, before the run has begun; an error may be of a named data set."""
    if isinstance(error, CaptionqaError):
        where = f"{data_set}: " if data_set else ""
        sys.exit(f"captionqa: {where}{printable_lines(with_keys_named(str(error), data_set))}")
    where, output = Path(error.filename or CONFIG.output_dir).absolute(), Path(CONFIG.output_dir).absolute()
    is_output = where.is_relative_to(output) or output.is_relative_to(where)
    doubt = "is output_dir a folder that you can write to?" if is_output else "is that something that you can read?"
    sys.exit(f"captionqa: {printable(str(error.filename or CONFIG.output_dir))}: {error.strerror}; {doubt}")


def of_data_set(wildcards):
    """The configuration and the paths for the data set of a job, with the job's model where it has one."""
    one = CONFIG.of_data_set(wildcards.data_set)
    return one, one.layout(wildcards.get("model"))
