"""Grading: which letter or value a model's words commit to, and whether it is the ground truth.

The names below are public: they grade answers of any origin without a run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captionqa.grading.choices import parse_choices
    from captionqa.grading.ground_truth import extract_answer, grade

__all__ = ["extract_answer", "grade", "parse_choices"]

#: The module of each. Imported when first asked for, since planning needs single modules of this room and no rules.
MODULES = {"extract_answer": "ground_truth", "grade": "ground_truth", "parse_choices": "choices"}


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
