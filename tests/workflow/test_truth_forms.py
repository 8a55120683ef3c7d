"""Question files with ground truths in the forms of public data sets, from the parquet to the metrics."""

import json
import shutil

import pandas as pd
import pytest
from projects import draw_image

pytestmark = pytest.mark.slow

ALL = "A. red\nB. dark blue\nC. green"
CHOICES = ["red", "dark blue", "green"]
TEN = ["net"] * 6 + ["netting"] * 3 + ["mesh"]


@pytest.fixture
def asked(project):
    """Write a question file from {qid: (question, choices, answer)} and what the model says to each text sent."""

    def write(rows, says, **qa):
        draw_image(project.folder / "images" / "a.png", 1)
        pd.DataFrame(
            {
                "qid": list(rows),
                "question": [question for question, _, _ in rows.values()],
                "options": [choices for _, choices, _ in rows.values()],
                "answer": [answer for _, _, answer in rows.values()],
                "image": ["a.png"] * len(rows),
            }
        ).to_parquet(project.folder / "questions.parquet")
        sent = {f"<image>{text}": answer for text, answer in says.items()}
        (project.folder / "answers.json").write_text(json.dumps(sent))
        server = project.config["models"][project.model]["server"]
        server["env"]["STAND_IN_ANSWERS"] = str(project.folder / "answers.json")
        project.config.pop("captions", None)
        project.config["qa"] |= qa
        project.config["client"] = project.config.get("client", {}) | {"max_failed_fraction": 1}
        return project

    return write


def grades(project):
    return {qid: (record["gt_letter"], record["is_correct"]) for qid, record in project.qa("results").items()}


def test_texts_and_lists_are_graded_or_refused_and_the_audit_names_them_first(asked):
    rows = {
        "letter": ("Which 1?", CHOICES, r"\boxed{B}"),
        "text": ("Which 2?", CHOICES, "dark blue"),
        "notation": ("Which 3?", [r"$\sqrt{2}$", r"$\sqrt{3}$"], "√3"),
        "boolean": ("Which 4?", ["Yes", "No"], "True"),
        "listed": (f"Which 5?\n{ALL}", CHOICES, "C"),
        "list": ("How many 6?", [], "['0.33', '1/3']"),
        "bars": ("What 7?", [], "cat|dog"),
        "yes": ("Is it 8?", [], "True"),
        "honest": ("How many 9?", [], "cannot be determined"),
        "boxes": ("Which 10?", [], r"\boxed{3} or \boxed{5}"),
        "index": ("Which 11?", CHOICES, "2"),
        "hidden": ("Which 12?", [], "?"),
        "several": ("Which 13?", CHOICES, r"\boxed{A} and \boxed{C}"),
        "secret": ("Which 14?", CHOICES, None),
        "empty": ("", CHOICES, "A"),
    }
    says = {
        f"Which 1?\n{ALL}": "The answer is B.",
        f"Which 2?\n{ALL}": "B",
        "Which 3?\nA. $\\sqrt{2}$\nB. $\\sqrt{3}$": "\\boxed{B}",
        "Which 4?\nA. Yes\nB. No": "Yes",
        f"Which 5?\n{ALL}": "C",
        "How many 6?": "1/3",
        "What 7?": "dog",
        "Is it 8?": "Yes, it is.",
        "How many 9?": "It cannot be determined.",
        "Which 10?": "5",
    }
    project = asked(rows, says, answer_is="auto")
    project.config["audit"] = {"stop_on": ["ungradable_ground_truth", "invalid_question"]}
    stopped = project.run(check=False)
    assert "1 invalid_question, 2 ungradable_ground_truth, on which audit.stop_on stops" in stopped
    assert project.requests() == []
    found = pd.read_csv(project.out / "audit.tsv", sep="\t").set_index("item")["detail"]
    assert set(found.index) >= {"index", "several", "empty"}

    del project.config["audit"]
    said = project.run()
    assert "the choices of 7 questions come from their columns" in said
    assert "2 without a ground truth: asked and not graded" in said
    assert "2 more have no ground truth" in said
    assert grades(project) == {
        "letter": ("B", True),
        "text": ("B", True),
        "notation": ("B", True),
        "boolean": ("A", True),
        "listed": ("C", True),
        "list": (None, True),
        "bars": (None, True),
        "yes": (None, True),
        "honest": (None, True),
        "boxes": (None, True),
        "hidden": (None, None),
        "secret": (None, None),
    }
    failures = {qid: (failure["reason"], failure["detail"]) for qid, failure in project.qa("failures").items()}
    assert {qid: reason for qid, (reason, _) in failures.items()} == {
        "index": "ungradable_ground_truth",
        "several": "ungradable_ground_truth",
        "empty": "invalid_question",
    }
    assert "set qa.answer_is to index0" in failures["index"][1]


def test_indexes_are_found_by_the_audit_and_graded_once_they_are_named(asked):
    rows = {f"q{number}": (f"Which {number}?", CHOICES, number % 3) for number in range(6)}
    says = {f"Which {number}?\n{ALL}": f"The answer is {'ABC'[number % 3]}." for number in range(6)}
    project = asked(rows, says)
    assert "1 index_ground_truth" in project.captionqa("audit")
    assert "are no choice's text: set qa.answer_is to index0" in project.run(check=False)
    assert project.requests() == []

    project.config["qa"]["answer_is"] = "index0"
    project.run()
    assert len(project.requests()) == 6
    assert set(grades(project).values()) == {("A", True), ("B", True), ("C", True)}
    assert "index_ground_truth" not in project.captionqa("audit")


def test_real_lists_are_scored_by_the_rules_of_their_data_sets_without_asking_again(asked):
    rows = {"q0": ("What 0?", [], TEN), "q1": ("What 1?", [], TEN), "q2": ("What 2?", [], TEN)}
    project = asked(rows, {"What 0?": "net", "What 1?": "Netting.", "What 2?": "mesh"})
    project.run()
    assert [record["score"] for record in project.qa("results").values()] == [1.0, 1.0, 1.0]

    project.forget_requests()
    project.config["qa"]["scoring"] = "vqa"
    shutil.rmtree(project.folder / ".snakemake")  # as where a run starts from another folder
    said = project.run()
    scores = [record["score"] for record in project.qa("results").values()]
    assert scores == pytest.approx([1.0, 0.9, 0.3])
    metrics = project.qa("metrics")
    assert (metrics["scoring"], metrics["correct_answers"]) == ("vqa", 2)
    assert metrics["mean_score"] == pytest.approx(2.2 / 3)
    assert "mean score by vqa 73.3%" in said
    assert {qid: flip["now"]["score"] for qid, flip in project.qa("flips").items()} == {"q1": 0.9, "q2": 0.3}
    assert project.requests() == []
