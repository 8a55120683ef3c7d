"""The summary of a run: what it starts with and what it has produced, for the user at the terminal."""

from collections import Counter
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Literal

from captionqa.config.config import Config, Task
from captionqa.config.context_length import image_room_notes
from captionqa.config.contexts import Context
from captionqa.config.data_sets import with_keys_named
from captionqa.config.exports import export_folders
from captionqa.config.layout import Layout
from captionqa.dataset.final_files import final_files, items_to_do, planned_items
from captionqa.dataset.plan import load_plan, planned_tasks
from captionqa.dataset.question_plan import ASKS_FOR_REASONING
from captionqa.dataset.skipped_files import skipped_text
from captionqa.driver.grid_summary import grid_rows, is_grid
from captionqa.driver.judge_summary import combined_text, judge_text
from captionqa.driver.phases import PHASES
from captionqa.driver.repeat_summary import repeats_text
from captionqa.files import read_json
from captionqa.grading.scoring import PARTIAL_SCORERS
from captionqa.page.run_end import grid_page_after_run, page_after_run
from captionqa.results.judged_records import JudgeMetrics
from captionqa.results.metrics import QaMetrics
from captionqa.results.provenance import ItemTotals, read_provenance
from captionqa.results.regrading import flip_kind, flips_line
from captionqa.run.progress import counted

#: What is wrong with an item whose image is not there: with one, with more.
MISSING = {
    "captions": ("leads to no file", "lead to no file"),
    "qa": ("names a missing image", "name missing images"),
}

#: Tokens that reasoning before an answer usually fits into.
REASONING_TOKENS = 1024
#: Above this share of truncated answers the summary says which key to raise.
MANY_TRUNCATED = 0.02
#: The most lists of failures that are named.
LISTS_NAMED = 3
#: The counts of answers that stand beside the accuracy, with the word for each.
_UNREAD: dict[Literal["unparsed_answers", "truncated_answers"], str] = {
    "unparsed_answers": "unparsed",
    "truncated_answers": "truncated",
}


def plan_line(config: Config, layout: Layout) -> str:
    """What the plan found in the data, and how many items are in chunks without a result.

    Each named data set has a line of its own.
    """
    parts = []
    for each, of_data in config.by_data_set(layout):
        found = _plan_parts(each, of_data)
        parts += [f"  {each.data_set}: {', '.join(found)}"] if each.data_set and found else found
    counts = items_to_do(config, layout)
    judged = counts.pop("judge", 0)
    to_do = sum(counts.values())
    finished = planned_items(config, layout) - to_do
    text = f"{counted(to_do, 'item')} to do" + (f", {finished:,} known" if finished else "")
    text += f"; then at most {counted(judged, 'answer')} to judge" if judged else ""
    return "\n".join([text, *parts]) if config.named else f"{', '.join(parts)}; {text}"


def _plan_parts(config: Config, layout: Layout) -> list[str]:
    """What the plan found in the data of one data set."""
    parts = []
    for task in planned_tasks(config, layout):
        plan = load_plan(layout, task)
        text = counted(plan.items, "image" if task == "captions" else "question")
        text += " with their repeats" if task == "qa" and config.qa and config.qa.is_repeated else ""
        text += f" in {counted(len(plan.chunks), 'chunk')}"
        notes = []
        if plan.missing_images:
            one, more = MISSING[task]
            notes.append(f"{plan.missing_images:,} {one if plan.missing_images == 1 else more}")
        if plan.skipped:
            notes.append(skipped_text(plan.skipped))
        if plan.invalid_rows:
            notes.append(f"{plan.invalid_rows:,} more are invalid")
        text += f" ({', '.join(notes)})" if notes else ""
        parts.append(text)
        if plan.choices_added:
            its = "its column" if plan.choices_added == 1 else "their columns"
            is_asked = bool(items_to_do(config, layout)["qa"]) and _has_asked(config, layout)
            again = " (questions that were asked without them are asked again)" if is_asked else ""
            parts.append(f"the choices of {counted(plan.choices_added, 'question')} come from {its}{again}")
        if task == "qa" and config.qa and config.qa.max_tokens < REASONING_TOKENS:
            one_for_all = config.qa.instruction if isinstance(config.qa.instruction, str) else ""
            asked_of_all = ASKS_FOR_REASONING.search(one_for_all)
            if asking := plan.items if asked_of_all else plan.asks_for_reasoning:
                parts.append(
                    f"{asking:,} of the questions ask for reasoning, which {config.qa.max_tokens} tokens may cut "
                    f"before the answer: set {_key('qa', config)}.max_tokens to {REASONING_TOKENS} or more"
                )
    return parts


def _has_asked(config: Config, layout: Layout) -> bool:
    """Whether a run has asked questions of the layout's data set before."""
    models = layout.of_models(config.model_names)
    return any(file.files.journal.exists() for of_model in models for file in final_files(config, of_model, "qa"))


def plan_notes(config: Config, layout: Layout) -> list[str]:
    """What was settled or left out where the questions were read, and where images get little room; a sentence each."""
    notes = []
    for each, of_data in config.by_data_set(layout):
        found = [note for task in planned_tasks(each, of_data) for note in load_plan(of_data, task).notes]
        for note in (*found, *image_room_notes(each)):
            notes.append(f"{each.data_set}: {with_keys_named(note, each.data_set)}" if each.data_set else note)
    folders = [Path(layout.output_dir, task) for task in ("captions", "qa")]
    # no data set is called like these folders
    if config.named and (earlier := [str(folder) for folder in folders if any(folder.glob("*/*.json"))]):
        notes.append(
            f"{' and '.join(earlier)} {'is' if len(earlier) == 1 else 'are'} of a data set without a name: this run "
            "neither reads nor changes what is there; docs/data.md, Several data sets, says how to give it a name, so "
            "that nothing is asked again"
        )
    return notes


def result_rows(config: Config, layout: Layout) -> list[str]:
    """The final files, with their counts and the accuracy, then one row about the items that failed.

    Those of several models or data sets have a heading each; of very many their data sets have a row each.
    """
    rows, failed = _rows_and_failures(config, layout)
    if is_grid(config, layout):
        rows = grid_rows(config, layout, MANY_TRUNCATED)
    return rows + _failed([(counts, path) for counts, path in failed if counts["failed"]])


def failed_reasons(config: Config, layout: Layout) -> Set[str]:
    """Why items of the final files failed."""
    return {reason for counts, _ in _rows_and_failures(config, layout)[1] for reason in counts["failures_by_reason"]}


def _rows_and_failures(config: Config, layout: Layout) -> tuple[list[str], list[tuple[ItemTotals, str]]]:
    """The rows of all final files, and the counts and the failures file of each."""
    rows: list[str] = []
    failed: list[tuple[ItemTotals, str]] = []
    layouts = [
        (each, of_model)
        for each, of_data in config.by_data_set(layout)
        for of_model in of_data.of_models(config.model_names)
    ]
    for each, of_model in layouts:
        before = len(rows)
        _add_rows(rows, failed, each, of_model)
        if len(layouts) > 1 and len(rows) > before:
            rows.insert(before, f"  {', '.join(filter(None, (each.data_set, of_model.model)))}:")
    for form, folder in (export for each, of_model in layouts for export in export_folders(each, of_model)):
        if (made := read_json(layout.export_summary(folder))) is not None:
            rows.append(f"  {made['items']:>7,} exported {form:<8} {folder}/")
    return rows, failed


def _add_rows(rows: list[str], failed: list[tuple[ItemTotals, str]], config: Config, layout: Layout) -> None:
    """Add the rows of one model's final files, and the counts and the failures file of each."""
    for captions in config.caption_sets if "captions" in config.tasks_of(layout.model) else ():
        path = layout.captions(captions.key)
        counts = _counts(layout.captions(captions.key, "_provenance"))
        if counts is None:  # the run was asked for other final files only
            continue
        rows.append(f"  {counts['answered']:>7,} captions {captions.title:<8} {path}")
        failed.append((counts, layout.captions(captions.key, "_failures")))
    for context in config.contexts_of(layout.model):
        if (metrics := read_json(layout.qa("metrics", context.suffix))) is not None:
            judged = None if config.judge is None else read_json(layout.qa("judge_metrics", context.suffix))
            rows.extend(_qa_rows(metrics, judged, config, layout, context))
            if (counts := _counts(layout.qa("provenance", context.suffix))) is not None:
                failed.append((counts, layout.qa("failures", context.suffix)))
            if judged is not None and (counts := _counts(layout.qa("judge_provenance", context.suffix))) is not None:
                failed.append((counts, layout.qa("judge_failures", context.suffix)))


def page_rows(config: Config, layout: Layout, began: float, finished: bool, config_path: str) -> list[str]:
    """The last rows of a run that began at `began`, in seconds since the epoch: its page, or why it has none.

    `config_path` is the configuration as a command names it.

    Call it once, after the verdict, which the pages show too.
    """
    ends = [
        (each, page_after_run(each, of_data, began, finished, PHASES)) for each, of_data in config.by_data_set(layout)
    ]
    if config.named:
        of_all = grid_page_after_run(config, layout, began, finished, PHASES)
        # it leads to the others
        ends = [(config, of_all), *((each, end) for each, end in ends if end.fault or of_all.path is None)]
    rows = []
    for each, end in ends:
        if end.path:
            rows.append(f"look at the results in a browser: {end.path}")
        elif end.fault and finished:
            option = f" --data-set {each.data_set}" if each.data_set else ""
            shown = f"captionqa view {config_path}{option} shows the results without it"
            rows.append(f"{end.fault}\n  the same command makes it; {shown}")
        elif end.fault:
            rows.append(end.fault)
    return rows


def _qa_rows(
    metrics: QaMetrics, judged: JudgeMetrics | None, config: Config, layout: Layout, context: Context
) -> list[str]:
    suffix = context.suffix
    name = context.name if suffix else ""
    rows = [
        f"  {metrics['answered_questions']:>7,} answers {name:<9} {layout.qa('results', suffix)}",
        *([f"          {combined_text(judged)}"] if judged is not None and judged["decides"] else []),
        f"          {_accuracy(metrics)}  {layout.qa('metrics', suffix)}",
        *([f"          {judge_text(judged)}  {layout.qa('judge_metrics', suffix)}"] if judged is not None else []),
    ]
    if (repeats := metrics.get("repeats")) is not None and repeats["questions"]:
        rows.append(f"          {repeats_text(repeats)}")
    if unread := [f"{metrics[key]:,} {word}" for key, word in _UNREAD.items() if metrics[key]]:
        rows.append(f"          {' and '.join(unread)} among the answers; what has no letter or value is wrong")
    if metrics["truncated_answers"] > MANY_TRUNCATED * metrics["answered_questions"]:
        share = metrics["truncated_answers"] / metrics["answered_questions"]
        rows.append(
            f"          {share:.0%} of the answers were cut: raise {_key('qa', config)}.max_tokens (all questions are "
            "asked again)"
        )
    if metrics.get("scoring") in PARTIAL_SCORERS:  # a run before scores has none
        low, high = metrics["mean_score_interval_95"] or (0.0, 1.0)
        rows.append(
            f"          mean score by {metrics['scoring']} {metrics['mean_score']:.1%} (95 % interval {low:.1%} to "
            f"{high:.1%})"
        )
    if flips := read_json(layout.qa("flips", suffix)):
        line = flips_line(Counter(map(flip_kind, flips.values())), metrics["answered_questions"])
        rows.append(f"          {line}  {layout.qa('flips', suffix)}")
    return rows


def _accuracy(metrics: QaMetrics) -> str:
    ungraded = metrics.get("ungraded_questions", 0)  # a run before these has none
    if ungraded == metrics["total_questions"]:
        return "no question has a ground truth, so that none is graded"
    low, high = metrics["overall_accuracy_interval_95"] or (0.0, 1.0)
    without = f"; {ungraded:,} more {'has' if ungraded == 1 else 'have'} no ground truth" if ungraded else ""
    return (
        f"accuracy {metrics['overall_accuracy']:.1%} ({metrics['correct_answers']} of "
        f"{metrics['total_questions'] - ungraded}; 95 % interval {low:.1%} to {high:.1%}){without}"
    )


def _key(task: Task, config: Config) -> str:
    """The section of a task, as the configuration names it."""
    return f"{task}.{config.data_set}" if config.data_set else task


def _counts(path: str) -> ItemTotals | None:
    """The counts in a provenance file; None where the file is missing."""
    stored = read_provenance(path)
    return stored and stored["counts"]


def _failed(files: Sequence[tuple[ItemTotals, str]]) -> list[str]:
    """The row of the items that failed, by the counts and the path of each failures file that has some."""
    if not files:
        return []
    by_reason: Counter[str] = Counter()
    for counts, _ in files:
        by_reason.update(counts["failures_by_reason"])
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in by_reason.items())
    paths = [path for _, path in files]
    more = f" and {len(paths) - LISTS_NAMED} more" if len(paths) > LISTS_NAMED else ""
    return [f"  {by_reason.total():>7,} failed: {reasons}  {', '.join(paths[:LISTS_NAMED])}{more}"]
