"""Questions that are asked more than once: the orders of their choices, their items, and what their answers become."""

import random
from itertools import combinations
from math import factorial
from operator import itemgetter

import numpy as np
import pandas as pd
import pytest
from captionqa.client.chunk_result import FORMAT, write_chunk
from captionqa.config.layout import Layout
from captionqa.config.qa_config import ColumnsConfig
from captionqa.config.repeats import Repeats, ShuffleConfig, sample_seed
from captionqa.config.settings import fingerprint, qa_settings
from captionqa.dataset.choice_order import text_in_order
from captionqa.dataset.question_plan import plan_questions
from captionqa.dataset.question_repeats import in_order, question_of, repeats_of
from captionqa.dataset.repeat_planning import choice_orders
from captionqa.errors import ConfigError
from captionqa.files import read_json, read_json_lines
from captionqa.grading.choices import parse_choices
from captionqa.grading.scoring import GradingRules
from captionqa.results.clustered_statistics import mean_interval
from captionqa.results.qa import merge_qa
from captionqa.results.repeat_metrics import pass_at_k
from hypothesis import given
from hypothesis import strategies as st

SERVER = {"url": "http://node:8000", "generation": 1, "vllm": "1.2"}
IMAGES = ["one.png", "two.png"]
COLOURS = ["red", "blue", "green", "pink"]
TEXT = "Which colour?\nA. red\nB. blue\nC. green\nD. pink"


@given(st.integers(2, 8), st.integers(1, 40), st.integers())
def test_no_order_comes_twice_before_all_have_come_and_more_rounds_change_none(options, rounds, seed):
    orders = choice_orders("q", options, ShuffleConfig(seed, rounds))
    assert len(orders) == rounds
    assert orders[0] == list(range(options))
    assert all(sorted(order) == orders[0] for order in orders)
    every = factorial(options)
    for start in range(0, rounds, every):
        cycle = [tuple(order) for order in orders[start : start + every]]
        assert len(set(cycle)) == len(cycle)
    assert choice_orders("q", options, ShuffleConfig(seed, rounds + 1))[:rounds] == orders


def test_the_orders_are_of_the_documented_generator():
    generator, orders = random.Random("7 q1"), [[0, 1, 2, 3]]
    while len(orders) < 5:
        order = list(range(4))
        generator.shuffle(order)
        if order not in orders:
            orders.append(order)
    assert choice_orders("q1", 4, ShuffleConfig(seed=7, rounds=5)) == orders
    assert choice_orders("q2", 4, ShuffleConfig(seed=7, rounds=5)) != orders


def test_circular_orders_are_the_rotations_of_circular_eval():
    orders = choice_orders("q", 4, ShuffleConfig(circular=True))
    assert ["".join(in_order("ABCD", order)) for order in orders] == ["ABCD", "BCDA", "CDAB", "DABC"]


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"{TEXT}\nAnswer with the option's letter.",
        "Hint: A. is no option\nWhich colour?\n(A) red (B) blue (C) green (D) pink",
        "Which? A) red B) blue C) green D) pink",
        "Which?\n- **A.** red\n- **B.** blue\n- **C.** green\n- **D.** pink\n\nThe red one?",
        "<image>\nWhich?\na. red\nb. blue\nc. green\nd. pink",
    ],
)
def test_choices_move_and_nothing_else_does(text):
    for order in choice_orders("q", 4, ShuffleConfig(rounds=6))[1:]:
        moved = text_in_order(text, COLOURS, order)
        assert parse_choices(moved) == in_order(COLOURS, order)
        back = text_in_order(moved, in_order(COLOURS, order), [order.index(number) for number in range(4)])
        assert back == text


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("Which of them?\nA. red\nB. blue\nC. Both A and B", ["red", "blue", "Both A and B"]),
        ("Which of them?\nA. red\nB. blue\nC. A only", ["red", "blue", "A only"]),
        ("Which of them?\nA. <image>\nB. <image>", ["<image>", "<image>"]),
        ("Which panel shows it?", ["left", "right"]),
    ],
)
def test_choices_that_cannot_be_moved_are_not(text, choices):
    assert text_in_order(text, choices, list(range(len(choices)))[::-1]) is None


@pytest.fixture
def project(tmp_path, images, make_config):
    """Plan questions of the data set with repeats, answer each item, and merge: the final files by kind."""
    layout, made = Layout(str(tmp_path / "output"), "tiny"), {}

    def run(questions, answer, repeats, **options):
        path, folder = tmp_path / "repeated.parquet", tmp_path / f"merged{len(made)}"
        pd.DataFrame(questions).to_parquet(path)
        columns = ColumnsConfig() if "choices" in questions else ColumnsConfig(choices=None)
        plan = plan_questions(path, images.path, 3, layout, columns=columns, repeats=repeats, **options)
        settings = qa_settings(make_config({"client": {"sampling": {"seed": 40}}}), "tiny")
        chunks = []
        for number, items in enumerate(plan.item_lists(layout, "qa")):
            lines = [answered(entry, answer) for entry in read_json_lines(items)]
            header = {
                "chunk": f"{number}-of-3",
                "format": FORMAT,
                "fingerprint": fingerprint(settings),
                "settings": settings,
                "items": len(lines),
                "started": 1000.0,
                "finished": 2000.0,
                "client": {"host": "node", "job": "7"},
                "servers": [],
            }
            chunks.append(str(folder / f"{number}.jsonl"))
            folder.mkdir(exist_ok=True)
            write_chunk(chunks[-1], header, sorted(lines, key=itemgetter("id")))
        kinds = ("results", "metrics", "failures", "provenance", "flips")
        paths = {kind: str(folder / f"{kind}.json") for kind in kinds}
        rows = layout.question_rows(plan.rows)
        graded = str(folder / "graded.jsonl")
        merge_qa(chunks, rows, settings, str(path), "images", *paths.values(), graded, GradingRules())
        made[folder] = {kind: read_json(path) for kind, path in paths.items()}
        return made[folder] | {"plan": plan}

    return run


def answered(entry, answer):
    """The line of an item by what `answer` makes of its entry: a text, or None for a failure."""
    if (text := answer(entry)) is None:
        return {"id": entry["id"], "failure": "timeout", "detail": "it took too long"}
    tokens = {"prompt_tokens": 10, "completion_tokens": 5}
    return {
        "id": entry["id"],
        "answer": {"text": text, "finish_reason": "stop", **tokens, "server": SERVER},
        "files": [],
    }


def letter_of(entry, colour):
    """The letter that a colour has in the text that is asked."""
    return next(line[0] for line in entry["question"].splitlines() if line.endswith(f". {colour}"))


@pytest.fixture
def four():
    """Four questions with choices about two images, and an open one."""
    return {
        "qid": ["q1", "q10", "q2", "q3", "open"],
        "question": [TEXT] * 4 + ["How many?"],
        "answer": [r"\boxed{B}", "A", "C", "D", "12"],
        "image": [[IMAGES[0]]] * 2 + [[IMAGES[1]]] * 3,
    }


def test_letters_are_those_of_the_file_whatever_order_was_asked(project, four):
    """A model that always says blue is right about the one blue thing, in every order."""
    four |= {"question": [TEXT] * 5, "answer": ["B", "A", "C", "D", "B"]}
    made = project(four, lambda entry: f"The answer is {letter_of(entry, 'blue')}.", Repeats(ShuffleConfig(rounds=4)))
    records = made["results"]
    assert {record["predicted_letter"] for record in records.values()} == {"B"}
    assert [qid for qid, record in records.items() if record["is_correct"]] == ["open", "q1"]
    for record in records.values():
        assert [one["predicted_letter"] for one in record["rounds"]] == ["B"] * 4
        assert record["decided_by"] == {"rule": "majority", "round": 1, "sample": 1, "votes": {"B": 4}}
        for one in record["rounds"][1:]:
            assert in_order(record["choices"], one["permutation"])["ABCD".index(one["model_output"][-2])] == "blue"
    assert made["metrics"]["repeats"]["consistency"] == 1
    assert made["metrics"]["overall_accuracy"] == 0.4


def test_a_model_that_says_a_letter_is_told_by_the_rounds(project, four):
    made = project(four, lambda entry: "A" if "\n" in entry["question"] else "12", Repeats(ShuffleConfig(rounds=3)))
    metrics, repeats = made["metrics"], made["metrics"]["repeats"]
    assert made["results"]["open"].keys().isdisjoint({"rounds", "decided_by"})
    shares = []
    for qid in ("q1", "q10", "q2", "q3"):
        record = made["results"][qid]
        right = [one["predicted_letter"] == record["gt_letter"] for one in record["rounds"]]
        assert right == [one["is_correct"] for one in record["rounds"]]
        shares.append(sum(right) / 3)
        assert record["decided_by"]["rule"] == (
            "majority" if max(record["decided_by"]["votes"].values()) > 1 else "tie"
        )
        if record["decided_by"]["rule"] == "tie":
            assert (record["predicted_letter"], record["is_parsed"], record["is_correct"]) == (None, True, False)
    assert repeats["mean_accuracy"] == pytest.approx(np.mean(shares))
    expected = mean_interval(np.array(shares), np.array([0, 0, 1, 1]))
    assert repeats["mean_accuracy_interval_95"] == pytest.approx(expected)
    by_round = [one["accuracy"] for one in repeats["by_round"]]
    assert by_round[0] == repeats["first_accuracy"] == 0.25
    assert repeats["spread_over_rounds"]["standard_deviation"] == pytest.approx(np.std(by_round, ddof=1))
    assert (repeats["requests"], metrics["total_questions"], made["plan"].items) == (12, 5, 13)
    assert metrics["graded_by"]["tie"] == repeats["ties"] > 0
    assert metrics["unparsed_answers"] == 0


def test_a_tie_beside_a_refusal_is_neither_unparsed_nor_refused(project, four):
    said = {1: "I cannot answer that.", 2: "A", 3: "B"}
    made = project(four, lambda entry: said[entry.get("sample", 1)], Repeats(samples=3))
    record, metrics = made["results"]["q1"], made["metrics"]
    assert (record["graded_by"], record["is_parsed"], record["refused"]) == ("tie", True, False)
    assert record["rounds"][0]["refused"]
    assert (metrics["unparsed_answers"], metrics["refused_answers"]) == (0, 0)


def test_circular_is_right_only_if_right_in_each_rotation(project, four):
    slips = {"q10": 3, "q2": 2}

    def answer(entry):
        if entry["id"] == "open":
            return "12"
        right = {"q1": "blue", "q10": "red", "q2": "green", "q3": "pink"}[question_of(entry["id"])]
        slips_here = f"round {slips.get(question_of(entry['id']), 0)} " in entry["id"]
        return letter_of(entry, "blue" if slips_here else right)

    made = project(four, answer, Repeats(ShuffleConfig(circular=True)))
    records, repeats = made["results"], made["metrics"]["repeats"]
    assert [qid for qid, record in records.items() if record["is_correct"]] == ["open", "q1", "q3"]
    assert (records["q2"]["predicted_letter"], records["q2"]["graded_by"]) == (None, "circular")
    assert records["q3"]["predicted_letter"] == "D"
    assert (repeats["decided_accuracy"], repeats["first_accuracy"]) == (0.5, 1)
    by_image = mean_interval(np.array([1.0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert repeats["decided_accuracy_interval_95"] == pytest.approx(by_image)
    assert [one["accuracy"] for one in repeats["by_round"]] == [1, 0.75, 0.75, 1]
    assert made["metrics"]["correct_answers"] == 3


def test_a_failed_request_fails_its_question_by_name_and_the_totals_add_up(project, four):
    made = project(
        four, lambda entry: None if entry["id"].startswith("q10\0round 2") else "A", Repeats(ShuffleConfig(rounds=3), 2)
    )
    assert made["failures"] == {"q10": {"reason": "timeout", "detail": "round 2, sample 1: it took too long"}}
    repeats = made["metrics"]["repeats"]
    assert (repeats["questions"], repeats["requests"], repeats["answered_requests"]) == (4, 26, 24)
    assert repeats["failed_requests"] == 2
    counts = made["provenance"]["counts"]
    assert (counts["items"], counts["answered"], counts["failed"]) == (5, 4, 1)
    assert made["provenance"]["tokens"]["prompt"] == 240
    assert made["metrics"]["failures_by_reason"] == {"timeout": 1}


def test_samples_of_an_open_question_are_counted_by_value(project, four):
    four = {key: values[-1:] for key, values in four.items()}
    said = {1: "13", 2: "12", 3: "The answer is 12.0"}
    made = project(four, lambda entry: said[entry.get("sample", 1)], Repeats(samples=3))
    record = made["results"]["open"]
    assert (record["model_output"], record["is_correct"], record["decided_by"]["sample"]) == ("12", True, 2)
    assert [one["seed"] for one in record["rounds"]] == [40, 41, 42]
    assert record["decided_by"]["votes"] == {"13": 1, "12": 2}
    assert made["metrics"]["repeats"]["pass_at"] == pytest.approx({"1": 2 / 3, "2": 1, "3": 1})


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_all_choices_of_k_answers(answers, data):
    correct, k = data.draw(st.integers(0, answers)), data.draw(st.integers(1, answers))
    drawn = list(combinations([True] * correct + [False] * (answers - correct), k))
    assert pass_at_k(answers, correct, k) == pytest.approx(sum(map(any, drawn)) / len(drawn))


def test_without_repeats_the_plan_is_as_before(project, four):
    def answer(entry):
        assert entry.keys() <= {"id", "question", "images", "stamps", "by_image"}
        return "A"

    once = project(four, answer, Repeats())
    same = project(four, answer, Repeats(ShuffleConfig(rounds=1)))
    assert once["plan"].chunks == same["plan"].chunks
    assert once["plan"].rows == same["plan"].rows
    assert once["results"] == same["results"]
    assert "repeats" not in once["metrics"]


def test_the_protocol_and_rounds_combine(project):
    questions = {
        "qid": ["q1", "q2"],
        "question": ["Which colour?", "What shape?"],
        "choices": [["red", "blue", "green"], ["disc", "box", "star"]],
        "answer": ["blue", "star"],
        "image": [[IMAGES[0]]] * 2,
    }

    def answer(entry):
        if "colour" in entry["question"]:
            return letter_of(entry, "blue" if "\0" not in entry["id"] else "red")
        return letter_of(entry, "Cannot answer from the caption")

    once = project(questions, answer, Repeats(), protocol="captionqa")
    made = project(questions, answer, Repeats(ShuffleConfig(rounds=3)), protocol="captionqa")
    record, first = made["results"]["q2"], once["results"]["q2"]
    assert {key: record[key] for key in first} == first
    assert len({one["predicted_letter"] for one in record["rounds"]}) == 1
    colour = made["results"]["q1"]
    assert (colour["is_correct"], colour["choices"]["ABCD".index(colour["predicted_letter"])]) == (False, "red")
    assert made["metrics"]["captionqa"] == once["metrics"]["captionqa"]

    def cannot_answer_at_first(entry):
        return letter_of(entry, "Cannot answer from the caption" if "\0" not in entry["id"] else "red")

    questions = {key: values[:1] for key, values in questions.items()}
    made = project(questions, cannot_answer_at_first, Repeats(ShuffleConfig(rounds=2)), protocol="captionqa")
    (tie,) = made["results"].values()
    assert (tie["graded_by"], tie["cannot_answer"], tie["published"]["cannot_answer"]) == ("tie", False, True)


def test_the_notes_name_questions_whose_choices_stay(project):
    questions = {
        "qid": ["q1", "q2"],
        "question": [TEXT, "Which?\nA. red\nB. blue\nC. Neither A nor B"],
        "answer": ["A", "B"],
        "image": [[IMAGES[0]]] * 2,
    }
    made = project(questions, lambda entry: "A", Repeats(ShuffleConfig(rounds=2)))
    assert any(note.startswith("1 with options that cannot be moved") for note in made["plan"].notes)
    assert "rounds" not in made["results"]["q2"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"qa": {"samples": 2}}, "qa.samples: 2 samples at client.sampling.temperature 0"),
        ({"captions": {"samples": 2}}, "captions.samples: 2 samples at client.sampling.temperature 0"),
        (
            {
                "models": {"cool": {"path": "x", "sampling": {"temperature": 0}}},
                "client": {"sampling": {"temperature": 1}},
                "captions": {"samples": 2},
            },
            "captions.samples: 2 samples at models.cool.sampling.temperature 0",
        ),
        ({"qa": {"shuffle_choices": {"circular": True, "rounds": 3}}}, "leave rounds out"),
        ({"qa": {"shuffle_choices": {"rounds": 0}}}, "qa.shuffle_choices"),
        ({"qa": {"shuffle_choices": {"seed": 7}}}, "set rounds to 2 or more"),
        (
            {"qa": {"shuffle_choices": {"circular": True}, "samples": 2}, "client": {"sampling": {"temperature": 1}}},
            "CircularEval takes one answer to each rotation",
        ),
        (
            {
                "captions": {
                    "samples": 2,
                    "prompt_styles": ["a", "a_sample2"],
                    "prompts": {"a": "x", "a_sample2": "y"},
                },
                "client": {"sampling": {"temperature": 1}},
            },
            "would write the same file",
        ),
    ],
)
def test_repeats_that_cannot_differ_are_refused(make_config, changes, said):
    with pytest.raises(ConfigError, match=said):
        make_config(changes)


def test_a_temperature_of_the_model_that_is_asked_is_enough_for_samples(make_config):
    models = {"tiny": {"sampling": {"temperature": 0.7}}, "reader": {"path": "x"}}
    captions = {"samples": 2, "prompt_styles": ["SHORT"]}
    config = make_config({"models": models, "captions": captions, "qa": {"contexts": ["caption"], "reader": "reader"}})
    assert [one.key for one in config.caption_sets] == ["short", "short_sample2"]


def test_seeds_differ_by_sample():
    assert [sample_seed({"seed": 5}, sample) for sample in (1, 2, 3)] == [5, 6, 7]
    assert [sample_seed({"seed": None}, sample) for sample in (1, 2, 3)] == [None, 1, 2]


def test_the_items_of_a_question_follow_one_another():
    repeats = {"orders": [[0, 1], [1, 0]], "samples": 2}
    ids = [repeat.id for qid in ("q1", "q1 ", "q1!", "q10") for repeat in repeats_of(qid, repeats)]
    assert [question_of(item) for item in sorted(ids)] == sorted(map(question_of, ids))
