"""A question set in the style of ViRL39K, from its parquet to its metrics.

Images come as arrays of one to eight paths, `<image>` marks stand in the questions, answers are boxed letters, numbers,
formulas and words, and there are columns that nobody asks for.
"""

import hashlib
import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from captionqa.results.statistics import wilson_interval
from projects import draw_image

pytestmark = pytest.mark.slow

CATEGORIES = [
    "(GradeSchool) Geometric",
    "(GradeSchool) Non-Geo Math",
    "(GradeSchool) Science",
    "Broader STEM Topics",
    "Social Science",
    "Spatial Reasoning",
    "Tables/Diagrams/Charts",
    "Others",
]
#: The question, its answer, the number of its images, what the model says, its letter, whether it is right, which rule.
QUESTIONS = [
    (
        "<image>In triangle ABC, find BC.\nChoices:\nA. 3\nB. 4\nC. $2\\sqrt{2}$\nD. 5",
        "\\boxed{C}",
        1,
        "By Pythagoras $BC = \\sqrt{8}$.\n\n\\boxed{C}",
        "C",
        True,
        "box",
    ),
    (
        "<image>\nWhich shape is a circle?\n(A) left (B) right",
        "\\boxed{A}",
        1,
        "The answer is (B) right.",
        "B",
        False,
        "cue",
    ),
    (
        "Compare <image> and <image>. Which is larger?\nA. the first\nB. the second",
        "\\boxed{B}",
        2,
        "The answer is A or B.",
        None,
        False,
        "none",
    ),
    (
        "<image>How long is AB?",
        "\\boxed{12}",
        1,
        "So $AB = 3 \\times 4 = 12$.\nThe answer is 12 cm.",
        None,
        True,
        "verify",
    ),
    ("How many birds are in <image><image><image>?", "\\boxed{7}", 3, "There are 8 birds.", None, False, "verify"),
    ("<image>What share is blue?", "\\boxed{25\\%}", 1, "\\boxed{\\frac{1}{4}}", None, True, "verify"),
    (
        "<image>Find the area.",
        "\\boxed{6\\pi\\text{ cm}^2}",
        1,
        "Thus, the area is \\boxed{6\\pi}.",
        None,
        True,
        "verify",
    ),
    ("<image>Give the line.", "\\boxed{y=2x+1}", 1, "The line is \\boxed{2x-y+1=0}", None, True, "verify"),
    ("<image>Give the solutions.", "\\boxed{x=2, x=-3}", 1, "\\boxed{x=-3 \\text{ or } x=2}", None, True, "verify"),
    ("<image>Expand.", "\\boxed{x^2+2x+1}", 1, "\\boxed{(x+1)^2}", None, True, "verify"),
    ("<image>Expand the other.", "\\boxed{x^2+2x+1}", 1, "\\boxed{(x-1)^2}", None, False, "verify"),
    ("<image>Which city is it?", "\\boxed{Paris}", 1, "The answer is **Paris**.", None, True, "verify"),
    ("<image>图中是什么颜色？", "\\boxed{红色}", 1, "答案是红色。", None, True, "verify"),
    (
        "First <image>, then <image>, <image>, <image>, <image>, <image>, <image> and last <image>: which comes next?"
        "\nA. up\nB. down\nC. left\nD. right",
        "\\boxed{D}",
        8,
        "<think>Perhaps \\boxed{A}?</think>**Answer:** D",
        "D",
        True,
        "cue",
    ),
    (
        "Which of these five differs?\nA. 1st\nB. 2nd\nC. 3rd\nD. 4th\nE. 5th",
        "\\boxed{E}",
        5,
        "E",
        "E",
        True,
        "letter",
    ),
    ("<image>What is the total?", "\\boxed{1{,}200}", 1, "I cannot determine it from the image.", None, False, "none"),
]


@pytest.fixture(scope="module")
def questions():
    return [
        {
            "qid": f"Processed-{number:05d}",
            "category": CATEGORIES[number % len(CATEGORIES)],
            "source": ("Processed", "MMK12")[number % 2],
            "images": [f"set{number}/{part}.png" for part in range(question[2])],
            **dict(
                zip(("question", "answer", "count", "output", "letter", "is_correct", "rule"), question, strict=True)
            ),
        }
        for number, question in enumerate(QUESTIONS)
    ]


@pytest.fixture
def virl(project, questions):
    """The project with this question set and a stand-in that gives these outputs."""
    number = 0
    for question in questions:
        for name in question["images"]:
            number += 1
            draw_image(project.folder / "images" / name, number)
    pd.DataFrame(
        {
            "qid": [question["qid"] for question in questions],
            "question": [question["question"] for question in questions],
            "answer": [question["answer"] for question in questions],
            "image": [np.array(question["images"], dtype=object) for question in questions],
            "category": [question["category"] for question in questions],
            "source": [question["source"] for question in questions],
            "PassRate_32BTrained": np.linspace(0, 1, len(questions)),
            "PassRate_7BBase": [np.nan] + [0.5] * (len(questions) - 1),
        }
    ).to_parquet(project.folder / "questions.parquet")
    sent = {asked_text(question): question["output"] for question in questions}
    (project.folder / "answers.json").write_text(json.dumps(sent))
    server = project.config["models"][project.model]["server"]
    server["env"]["STAND_IN_ANSWERS"] = str(project.folder / "answers.json")
    del project.config["captions"]
    return project


def asked_text(question):
    """What is sent: images without a mark come first."""
    unmarked = question["count"] - question["question"].count("<image>")
    return "<image>" * unmarked + question["question"]


def test_a_question_set_in_the_style_of_virl39k_goes_through(virl, questions):
    virl.run()

    asked = {request["text"]: request["images"] for request in virl.requests()}
    assert len(virl.requests()) == len(asked) == len(questions)
    for question in questions:
        files = [(virl.folder / "images" / name).read_bytes() for name in question["images"]]
        assert asked[asked_text(question)] == [hashlib.sha256(data).hexdigest()[:12] for data in files]

    results, metrics = virl.qa("results"), virl.qa("metrics")
    assert list(results) == [question["qid"] for question in questions]
    assert virl.qa("failures") == {}
    for question in questions:
        record = results[question["qid"]]
        assert record["question"] == question["question"]
        assert record["model_output"] == question["output"]
        assert record["gt_answer"] == question["answer"]
        assert record["image_paths"] == question["images"]
        assert record["num_images"] == question["count"]
        assert (record["category"], record["source"]) == (question["category"], question["source"])
        graded = (record["predicted_letter"], record["is_correct"], record["graded_by"])
        assert graded == (question["letter"], question["is_correct"], question["rule"]), question
        is_choice = len(question["answer"]) == len("\\boxed{A}") and question["answer"][-2].isalpha()
        assert record["gt_letter"] == (question["answer"][-2] if is_choice else None)
        assert bool(record["choices"]) is is_choice

    right = sum(question["is_correct"] for question in questions)
    assert (metrics["total_questions"], metrics["correct_answers"]) == (len(questions), right)
    assert metrics["overall_accuracy"] == right / len(questions)
    assert metrics["overall_accuracy_interval_95"] == wilson_interval(right, len(questions))
    assert metrics["graded_by"] == Counter(question["rule"] for question in questions)
    assert (metrics["unparsed_answers"], metrics["refused_answers"]) == (2, 1)
    for kind, names in (("category", CATEGORIES), ("source", ["MMK12", "Processed"])):
        groups = metrics[f"{kind}_metrics"]
        assert sorted(groups) == sorted(names)
        for name, counts in groups.items():
            members = [question["is_correct"] for question in questions if question[kind] == name]
            assert (counts["total"], counts["correct"]) == (len(members), sum(members))
            assert counts["accuracy"] == sum(members) / len(members)

    # another tolerance grades the stored answers anew, without a server
    virl.config["qa"]["relative_tolerance"] = 0.2
    virl.save()
    assert virl.plan() == {"merge_qa": 1, "page": 1, "check_failures": 1, "default": 1}
