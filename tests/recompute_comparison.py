"""Every number of the cells of comparison.json once more, from the results and failures files alone and by other code.

    python tests/recompute_comparison.py OUTPUT_DIR

ends with an error that names what differs, or prints how much agrees.
"""

import json
import math
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from statsmodels.stats.proportion import proportion_confint

Z = 1.959963984540054


class Answers:
    """The results and the failures of one model on one data set in one context."""

    def __init__(self, results: Path):
        self.records = json.loads(results.read_text())
        failures = results.with_name(results.name.replace("_results.json", "_failures.json"))
        self.failed = set(json.loads(failures.read_text()))
        assert self.failed.isdisjoint(self.records), f"{results}: a question is in the results and in the failures"


def check_comparison(out: Path) -> dict[str, int]:
    """Compare all cells and macro averages of an output folder; gives how many of each there are."""
    comparison = json.loads((out / "comparison.json").read_text())
    files = [*out.glob("qa/*/*_results.json"), *out.glob("*/qa/*/*_results.json")]
    # relative paths of the configuration are of the folder that the workflow was started in
    found = {path.resolve(): Answers(path) for path in files}
    endings = ["/" + cell["results"].lstrip("/") for cell in comparison["cells"]]
    paths = [next(path for path in found if str(path).endswith(ending)) for ending in endings]
    assert sorted(paths) == sorted(found), "each results file has one cell"
    cells = list(zip(comparison["cells"], paths, strict=True))
    for data_set in {cell.get("data_set") for cell, _ in cells}:
        group = [(cell, found[path]) for cell, path in cells if cell.get("data_set") == data_set]
        _check_data_set(group)
    for average in comparison.get("macro_averages", []):
        _check_average(average, comparison["cells"])
    return {"cells": len(cells), "macro averages": len(comparison.get("macro_averages", []))}


def _check_data_set(group):
    """The cells of one data set, with the answers of each; of a question any record tells the category and images."""
    category, images = {}, {}
    for _, answers in group:
        for qid, record in answers.records.items():
            category.setdefault(qid, record["category"])
            if record["image_paths"]:
                images.setdefault(qid, tuple(record["image_paths"]))
    for cell, answers in group:
        name = f"{cell['model']}, {cell['context']}, {cell.get('data_set')}"
        _check_estimate(name, cell, answers, images, {*answers.records, *answers.failed})
        assert set(cell["categories"]) == set(category.values()), name
        for one, estimate in cell["categories"].items():
            of_category = {qid for qid in {*answers.records, *answers.failed} if category.get(qid) == one}
            _check_estimate(f"{name}, {one}", estimate, answers, images, of_category)


def _check_estimate(name, estimate, answers, images, qids):
    graded = {
        qid: bool(answers.records[qid]["is_correct"])
        for qid in qids
        if qid in answers.records and answers.records[qid]["is_correct"] is not None
    }
    clusters = defaultdict(list)
    for qid, correct in graded.items():
        clusters[images.get(qid, qid)].append(correct)
    correct = sum(graded.values())
    counts = {
        "questions": len(qids),
        "graded": len(graded),
        "images": len(clusters),
        "failed": len(qids & answers.failed),
        "ungraded": len(qids & answers.records.keys()) - len(graded),
        "correct": correct,
    }
    assert {key: estimate[key] for key in counts} == counts, name
    assert estimate["questions"] == estimate["graded"] + estimate["failed"] + estimate["ungraded"], name
    accuracy = correct / len(graded) if graded else None
    assert estimate["accuracy"] == pytest.approx(accuracy), name
    assert estimate["accuracy_interval_95"] == pytest.approx(_interval(accuracy, list(clusters.values()))), name


def _interval(mean, clusters):
    """Wilson's interval for as many independent answers as have the clustered standard error (docs/comparison.md)."""
    if mean is None:
        return None
    count, groups = sum(map(len, clusters)), len(clusters)
    independent = groups
    if 0 < mean < 1 and groups > 1:
        variance = groups / (groups - 1) * sum(sum(right - mean for right in each) ** 2 for each in clusters) / count**2
        independent = min(count, mean * (1 - mean) / variance) if variance else count
    return list(proportion_confint(mean * independent, independent, method="wilson"))


def _check_average(average, cells):
    keys = ("model", "captioner", "context")
    own = [cell for cell in cells if all(cell.get(key) == average.get(key) for key in keys)]
    graded = {cell["data_set"]: cell for cell in own if cell["graded"]}
    name = ", ".join(str(average.get(key)) for key in keys)
    assert average["data_sets"] == [cell["data_set"] for cell in own if cell["graded"]], name
    everywhere = {cell["data_set"] for cell in cells}
    assert set(average["not_averaged"]) == everywhere - graded.keys(), name
    with_truths = {cell["data_set"] for cell in cells if cell["graded"] or not cell["ungraded"]}
    if with_truths - graded.keys():
        assert average["accuracy"] is average["accuracy_interval_95"] is None, name
        return
    means = [cell["accuracy"] for cell in graded.values()]
    mean = sum(means) / len(means)
    low, high = (
        [(cell["accuracy"] - cell["accuracy_interval_95"][end]) ** 2 for cell in graded.values()] for end in (0, 1)
    )
    interval = [mean - math.sqrt(sum(low)) / len(means), mean + math.sqrt(sum(high)) / len(means)]
    assert average["accuracy"] == pytest.approx(mean), name
    assert average["accuracy_interval_95"] == pytest.approx([max(0, interval[0]), min(1, interval[1])]), name


if __name__ == "__main__":
    print(", ".join(f"{count} {what}" for what, count in check_comparison(Path(sys.argv[1])).items()), "agree")
