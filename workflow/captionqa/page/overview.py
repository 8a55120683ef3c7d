"""The page's overview: what ran, when and how long, and how good the answers are."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NotRequired, TypedDict

from captionqa.results.comparison_records import Cell
from captionqa.results.judged_records import JudgeMetrics
from captionqa.results.metrics import AccuracyMetrics, GroupMetrics, QaMetrics
from captionqa.results.provenance import Provenance, QuestionFile
from captionqa.results.repeat_records import RepeatMetrics


class Part(TypedDict):
    """One final file: the captions of one prompt style, or the answers."""

    name: str
    #: What was sent with each image, or added to each question; None where nothing was.
    prompt: str | None
    #: The paths of the question files and of the images.
    data: list[str]
    items: int
    answered: int
    truncated: int
    failed: int
    #: [failure reason, items], the most frequent first.
    reasons: list[tuple[str, int]]
    #: ISO 8601 in UTC.
    started: str
    seconds: float
    max_tokens: int
    prompt_tokens: int
    completion_tokens: int


class Group(TypedDict):
    """The accuracy of one category or source."""

    name: str
    #: Questions with a ground truth.
    graded: int
    correct: int
    accuracy: float
    interval: list[float] | None


class Accuracy(TypedDict):
    """The accuracy of one column."""

    #: Whether a failed question is left out, as the comparison of contexts does; else it is wrong.
    leaves_out_failed: bool
    accuracy: float
    interval: list[float] | None
    correct: int
    graded: int
    scoring: str
    mean_score: float
    categories: list[Group]
    sources: list[Group]
    #: Only where questions are asked more than once.
    repeats: NotRequired[RepeatMetrics]
    #: Only where a judge grades the answers; None where it has not judged these.
    judge: NotRequired[JudgeMetrics | None]


def part(name: str, stored: Provenance) -> Part:
    """A final file by its provenance."""
    settings, counts = stored["settings"], stored["counts"]
    started, finished = map(datetime.fromisoformat, (stored["started"], stored["finished"]))
    return {
        "name": name,
        "prompt": settings.get("prompt") or settings.get("instruction"),
        "data": [*_paths(stored.get("question_file")), stored["dataset_path"]],
        "items": counts["items"],
        "answered": counts["answered"],
        "truncated": counts["truncated"],
        "failed": counts["failed"],
        "reasons": Counter(counts["failures_by_reason"]).most_common(),
        "started": stored["started"],
        "seconds": (finished - started).total_seconds(),
        "max_tokens": settings["max_tokens"],
        "prompt_tokens": stored["tokens"]["prompt"],
        "completion_tokens": stored["tokens"]["completion"],
    }


def accuracy(metrics: QaMetrics) -> Accuracy:
    """The accuracies of a metrics file, the worst categories and sources first."""
    figures = accuracy_of(metrics, metrics["scoring"])
    if "repeats" in metrics:
        figures["repeats"] = metrics["repeats"]
    return figures


def accuracy_of(metrics: AccuracyMetrics, scoring: str) -> Accuracy:
    """The accuracies of counted questions, graded by the rules of `scoring`."""
    return {
        "leaves_out_failed": False,
        "accuracy": metrics["overall_accuracy"],
        "interval": metrics["overall_accuracy_interval_95"],
        "correct": metrics["correct_answers"],
        "graded": metrics["total_questions"] - metrics["ungraded_questions"],
        "scoring": scoring,
        "mean_score": metrics["mean_score"],
        "categories": _groups(metrics["category_metrics"]),
        "sources": _groups(metrics["source_metrics"]),
    }


def compared_accuracy(metrics: QaMetrics, cell: Cell) -> Accuracy:
    """As `accuracy`, with the figures that the comparison of contexts has, so that these and its differences agree."""
    categories: list[Group] = [
        {
            "name": name,
            "graded": estimate["graded"],
            "correct": estimate["correct"],
            "accuracy": estimate["accuracy"] or 0.0,
            "interval": estimate["accuracy_interval_95"],
        }
        for name, estimate in cell["categories"].items()
    ]
    return {
        **accuracy(metrics),
        "leaves_out_failed": True,
        "accuracy": cell["accuracy"] or 0.0,
        "interval": cell["accuracy_interval_95"],
        "correct": cell["correct"],
        "graded": cell["graded"],
        # a cell without one has no score but 0 and 1
        "mean_score": cell.get("mean_score", cell["accuracy"]) or 0.0,
        "categories": _worst_first(categories),
    }


def model_facts(stored: Provenance) -> dict[str, Any]:
    """The model that answered, and the software around it."""
    servers = stored["answered_by"]
    versions = sorted({server["vllm"] for server in servers if "vllm" in server})
    return {
        "name": stored["settings"]["model"],
        "path": stored["settings"]["model_path"],
        "servers": versions,
        "captionqa": stored["captionqa"]["version"],
        "commit": stored["captionqa"]["git_commit"],
    }


def _paths(file: QuestionFile | None) -> list[str]:
    if file is None:
        return []
    return [file["path"]] if isinstance(file["path"], str) else list(file["path"])


def _groups(metrics: Mapping[str, GroupMetrics]) -> list[Group]:
    groups: list[Group] = [
        {
            "name": name,
            "graded": counts["total"] - counts["ungraded"],
            "correct": counts["correct"],
            "accuracy": counts["accuracy"],
            "interval": counts["accuracy_interval_95"],
        }
        for name, counts in metrics.items()
    ]
    return _worst_first(groups)


def _worst_first(groups: list[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: (group["graded"] == 0, group["accuracy"], group["name"]))
