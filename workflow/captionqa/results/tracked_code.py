"""Tracked code: the modules whose change makes the final files outdated, since they decide what merging writes."""

from collections.abc import Iterable
from pathlib import Path

from captionqa import PACKAGE

#: Patterns of the modules that decide what `merge_captions` writes. Of the client only the records that merging reads
#: count: how answers were obtained does not change how they are merged.
MERGING_CODE = (
    "*.py",
    "config/*.py",
    "results/*.py",
    "client/answer.py",
    "client/chunk_result.py",
    "client/final_text.py",
    "client/text_figures.py",
)
#: Patterns of the modules that decide, beside these, what `merge_qa` writes.
GRADING_CODE = ("grading/*.py", "dataset/question_row.py", "dataset/question_repeats.py")

#: Patterns of the modules that decide which answers a judge gets, beside the results.
JUDGED_CODE = ("results/judge_items.py",)

#: Patterns of the modules that decide what the comparison of contexts says.
COMPARISON_CODE = (
    "results/*comparison*.py",
    "results/*statistics.py",
    "results/graded_answers.py",
    "results/answer_sets.py",
)

#: Patterns of the modules that decide what exports hold, beside the results.
EXPORT_CODE = ("export/*.py",)

#: Patterns of the files that decide what the page shows.
PAGE_CODE = ("page/*.py", "page/assets/*")


def tracked_modules(patterns: Iterable[str]) -> list[Path]:
    """The package's modules that match any of the patterns, relative to the package's folder."""
    return [path.relative_to(PACKAGE) for pattern in patterns for path in sorted(PACKAGE.glob(pattern))]
