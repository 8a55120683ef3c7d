"""Grading: which letter or value a model's words commit to, and whether it is the ground truth.

The names below are public: they grade answers of any origin without a run.
"""

from captionqa.grading.choices import parse_choices
from captionqa.grading.ground_truth import extract_answer, grade

__all__ = ["extract_answer", "grade", "parse_choices"]
