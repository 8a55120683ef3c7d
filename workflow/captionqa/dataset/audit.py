"""The audit: what is wrong with images and questions, or odd about them, found before GPU time is spent.

Only headers of images are read, so a picture that is damaged behind its header still fails in the run.
"""

import csv
import logging
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from captionqa.config.config import Config, Task
from captionqa.config.data_sets import with_keys_named
from captionqa.config.layout import Layout
from captionqa.dataset.audit_checks import TaskChecks
from captionqa.dataset.findings import COUNTED_ONLY, EFFECTS, AuditReport, Finding, FindingKind
from captionqa.dataset.index_truths import IndexTruths
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.plan import load_plan, planned_tasks
from captionqa.dataset.planning import plan_all
from captionqa.dataset.question_repeats import question_of
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.files import atomic_writer, read_json_lines
from captionqa.grading.choices import LETTERS, lettered_choices
from captionqa.grading.ground_truth import GroundTruth
from captionqa.grading.scoring import GradingRules
from captionqa.shown_text import printable

COLUMNS = ("task", "item", "finding", "what the run does", "detail")
#: Stand in for choices that a question should list.
UNLISTED_CHOICES = tuple("ABCDEFGHIJ")
#: Threads that read headers: file systems of clusters answer slowly, but many requests at once.
THREADS = 16
PROGRESS_INTERVAL_S = 10.0

log = logging.getLogger(__name__)


def audit(config: Config, layout: Layout, audited: Collection[tuple[str, Task]]) -> AuditReport:
    """Check all items of planned tasks, each given with the name of its data set, and write the table of findings.

    Where the data sets have names the table has a column of them.
    """
    report = AuditReport(layout.audit)
    with atomic_writer(layout.audit) as file, ThreadPoolExecutor(THREADS) as pool:
        table = csv.writer(file, "excel-tab", lineterminator="\n")
        table.writerow([*(["data_set"] if config.named else []), *COLUMNS])
        for each, of_data in config.by_data_set(layout):
            for task in (task for task in planned_tasks(each, of_data) if (each.data_set, task) in audited):
                for finding in _findings(report, each, of_data, task, pool):
                    report.add(finding, each.data_set)
                    if finding.kind not in COUNTED_ONLY:
                        cells = finding.item, finding.kind, EFFECTS[finding.kind], finding.detail
                        table.writerow([*filter(None, [each.data_set]), task, *map(printable, cells)])
    return report


def _findings(
    report: AuditReport, config: Config, layout: Layout, task: Task, pool: ThreadPoolExecutor
) -> Iterator[Finding]:
    """The findings in a task of one data set, whose counts are added to the report."""
    plan = load_plan(layout, task)
    report.skipped.update(plan.skipped)
    of = f"{config.data_set}: " if config.data_set else ""
    report.notes += [f"{of}{with_keys_named(note, config.data_set)}" for note in plan.notes]
    yield from TaskChecks(config, layout, task, pool).findings(_counted(report, plan.item_lists(layout, task)))
    if plan.rows is not None:
        report.items += plan.invalid_rows
        rules = GradingRules.of(config.section("qa"))
        indexes = IndexTruths(rules)
        for row in read_json_lines(layout.question_rows(plan.rows)):
            yield from _row_findings(rules, indexes, row)
        yield from _index_finding(indexes)


def run_audit(config: Config, layout: Layout) -> None:
    """Plan and audit all that is configured, and log the report.

    Raises:
        InputError: a task cannot be planned, or something was found on which audit.stop_on stops.
    """
    plan_all(config, layout)
    report = audit(config, layout, [(name, task) for name, each in config.data_sets.items() for task in each.tasks])
    log.info("%s", report.text())
    report.check(config.audit.stop_on)


def _row_findings(rules: GradingRules, indexes: IndexTruths, row: QuestionRow | InvalidRow) -> Iterator[Finding]:
    """What is wrong or odd about a row of the question file as its answer will be graded."""
    if "invalid" in row:
        yield Finding(row["id"], FindingKind.INVALID_QUESTION, row["invalid"])
        return
    if row["answer"] is None:
        return
    indexes.add(row)
    choices = row.get("choices") or lettered_choices(row["question"])
    truth = GroundTruth.read(row["answer"], choices, rules)
    if truth.fault:
        yield Finding(row["id"], FindingKind.UNGRADABLE_GROUND_TRUTH, truth.fault)
    elif not choices and GroundTruth.read(row["answer"], UNLISTED_CHOICES, rules).letter:
        detail = f"the answer is a letter, {row['answer']!r}, but no choices are listed: is there an options column?"
        yield Finding(row["id"], FindingKind.NO_CHOICES, detail)
    elif truth.letter and choices and _is_repeated(truth.letter, choices):
        detail = f"another choice has the text of the ground truth, {truth.letter}"
        yield Finding(row["id"], FindingKind.EQUAL_CHOICES, detail)


def _is_repeated(letter: str, choices: Sequence[str]) -> bool:
    texts = [text.strip() for text in choices]
    return texts.count(texts[LETTERS.index(letter)]) > 1


def _index_finding(indexes: IndexTruths) -> Iterator[Finding]:
    """One finding if all ground truths may be indexes and some can be nothing else; asked once all rows were seen."""
    if fault := indexes.fault():
        yield Finding(indexes.first, FindingKind.INDEX_GROUND_TRUTH, fault)


def _counted(report: AuditReport, item_lists: Iterable[str]) -> Iterator[ItemEntry]:
    """The planned items, counted in the report, with a progress line now and then."""
    logged = time.monotonic()
    for path in item_lists:
        for item in read_json_lines(path):
            if question_of(item["id"]) != item["id"]:
                continue  # a repeat has the faults of the question
            report.items += 1
            if time.monotonic() - logged >= PROGRESS_INTERVAL_S:
                logged = time.monotonic()
                log.info("audit: %s items checked", f"{report.items:,}")
            yield item
