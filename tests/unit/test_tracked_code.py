"""Tracked code: every module that merging imports is an input of its rule, so that a change of one merges anew."""

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import captionqa
import pytest
from captionqa.results.tracked_code import GRADING_CODE, MERGING_CODE, tracked_modules

TRACKED = {"captions": MERGING_CODE, "qa": MERGING_CODE + GRADING_CODE}


@cache
def imported_modules(module):
    """The package's modules, relative to its folder, that importing this one of results/ loads in a fresh process."""
    listing = f"import sys, captionqa.results.{module}; print(*(module.__file__ for module in sys.modules.values() "
    listing += "if module.__name__.split('.')[0] == 'captionqa'))"
    done = subprocess.run(
        [sys.executable, "-c", listing],
        env={**os.environ, "PYTHONPATH": str(captionqa.WORKFLOW)},
        capture_output=True,
        text=True,
        check=True,
    )
    return {Path(path).relative_to(captionqa.PACKAGE) for path in done.stdout.split()}


def is_description_alone(module):
    """Whether a module holds nothing but its docstring, as most rooms' `__init__.py` do."""
    return len(ast.parse((captionqa.PACKAGE / module).read_text()).body) <= 1


def untracked(module, patterns):
    found = imported_modules(module) - set(tracked_modules(patterns))
    return {path for path in found if not is_description_alone(path)}


@pytest.mark.slow
@pytest.mark.parametrize(("module", "patterns"), TRACKED.items(), ids=TRACKED)
def test_all_code_that_merging_imports_is_tracked(module, patterns):
    assert len(imported_modules(module)) > 8
    assert untracked(module, patterns) == set()


@pytest.mark.parametrize(
    ("module", "pattern"), [(module, pattern) for module, patterns in TRACKED.items() for pattern in patterns]
)
def test_no_pattern_can_be_left_out(module, pattern):
    assert untracked(module, [other for other in TRACKED[module] if other != pattern])


def test_of_the_client_the_reading_of_chunk_results_alone_is_tracked():
    tracked = tracked_modules(TRACKED["qa"])
    wanted = [Path(f"client/{name}.py") for name in ("answer", "chunk_result", "final_text", "text_figures")]
    assert [path for path in tracked if path.parts[0] == "client"] == wanted
