"""The CaptionQA protocol: prompts, permutations and scores equal those of a script made from the published rules."""

import random
import re
from dataclasses import replace

import pandas as pd
import pytest
from captionqa.client.chat_request import ChatRequest
from captionqa.client.question_captions import QuestionCaptions
from captionqa.config.captionqa_protocol import SYSTEM_PROMPTS
from captionqa.config.captions_config import CaptionColumnsConfig
from captionqa.config.contexts import Context
from captionqa.config.layout import Layout
from captionqa.config.prompts import place_captions
from captionqa.config.settings import qa_settings
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.planning import plan_task
from captionqa.errors import ConfigError, ItemFailure
from captionqa.files import read_json_lines
from captionqa.grading.captionqa_rules import published_letter
from captionqa.grading.scoring import GradingRules
from captionqa.results.captionqa_metrics import ProtocolTally
from captionqa.results.qa_record import qa_record

QUESTIONS = [
    ("What is on the ground?", ["Snow", "Grass", "Sand"], "Grass"),
    ("Is there a cat?", ["Yes", "No"], "No"),
    ("When was it taken?", ["Yesterday", "Now", "At noon"], "At noon"),  # "yes" and "no" as parts of words
    ("Is it red or blue?", ["Red", "Blue"], "Red"),  # yes/no by its first word
    ("Island or lake?", ["Island", "Lake"], "Lake"),
    ("How many are there?", ["1", "2", "3", "4"], "3 "),
    ("Which is twice there?", ["A dog", "A cat", "A dog"], "A dog"),
    ("Which has blanks?", [" left", "right\nside"], "left"),
    ("Is?", ["a", "b"], "a"),
    ("Which is labelled?", ["A. one", "B. two"], "B. two"),
]
#: What the published code leaves out: too few choices, no choice that is the answer, no answer.
LEFT_OUT = [("Which one?", ["alone"], "alone"), ("Which?", ["x", "y"], "z"), ("Which?", ["x", "y"], None)]
OUTPUTS = ["B", "C.", "a", "(D)", "It is a cat", "2", "9", "</think>A", "Answer: B", "B\nThe sand", "I", "", "Z or 1"]
CATEGORIES = [["Attribute - Color"], ["Spatial - Position", "Attribute - Color"], ["Hallucination"]]


def nested(images=24):
    """Rows as of Borise/CaptionQA: ten or more questions to each image."""
    draw, rows = random.Random(5), []
    for number in range(images):
        questions = draw.sample(QUESTIONS, len(QUESTIONS)) + draw.sample(LEFT_OUT, number % 3)
        draw.shuffle(questions)
        rows.append(
            {
                "id": f"nat_{number:03}" if number % 2 else f"doc_{number:03}",
                "images": [f"{number}.png"],
                "domain": "natural" if number % 2 else "document",
                "questions": [
                    {"question": text, "choices": choices, "answer": answer, "category": CATEGORIES[at % 3]}
                    for at, (text, choices, answer) in enumerate(questions)
                ],
            }
        )
    return rows


# An independent script, from the rules of the paper's code as its README and qa.py state them.


def published_prompts(rows, captions):
    """{(id, number): (prompt, permutation, index of the answer, choices)} of what the evaluation asks."""
    generator, asked = random.Random(0), {}
    for row in rows:
        for number, question in enumerate(row["questions"]):
            text, choices, answer = question["question"], question["choices"], question["answer"]
            matching = [i for i, choice in enumerate(choices) if answer and choice.strip() == answer.strip()]
            if len(choices) < 2 or not matching:
                continue
            together = [choice.lower() for choice in choices]
            starts = "is are was were do does did have has had can could will would should shall may might must"
            yes_no = any("yes" in c for c in together) and any("no" in c for c in together)
            yes_no = yes_no or any(text.lower().strip().startswith(f"{word} ") for word in starts.split())
            options = choices + ([] if yes_no else ["Cannot answer from the caption"])
            order = list(range(len(options)))
            generator.shuffle(order)
            lines = "\n".join(f"{'ABCDEFG'[at]}. {options[i]}" for at, i in enumerate(order))
            prompt = f"Caption:\n{captions[row['id']]}\n\nQuestion:\n{text}\n\nOptions:\n{lines}\n\nAnswer:"
            asked[row["id"], number] = prompt, order, matching[0], choices
    return asked


def published_score(output, order, right, choices):
    """(is correct, cannot answer, score) of an output."""
    for mark in ("</think>", "Answer: ", "\n"):
        if mark in output:
            output = output[output.index(mark) + len(mark) :]
    at = None
    lone = re.findall(r"\b[A-Z]\b", output.upper())
    numbers = re.findall(r"\b[1-9][0-9]?\b", output)
    if lone and "ABCDEFGHIJKLMNOPQRSTUVWXYZ".index(lone[0]) < len(order):
        at = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".index(lone[0])
    elif numbers and int(numbers[0]) <= len(order):
        at = int(numbers[0]) - 1
    if at is None:
        return False, False, 0.0
    if order[at] == len(choices):
        return False, True, round(1 / len(choices) + 0.05, 4)
    return order[at] == right, False, float(order[at] == right)


@pytest.fixture
def protocol(make_config, tmp_path):
    """A configuration with the protocol, and the rows of its data set."""
    rows = nested()
    for row in rows:
        (tmp_path / row["images"][0]).write_bytes(b"not looked at")
    pd.DataFrame(rows).to_parquet(tmp_path / "captionqa.parquet")
    (tmp_path / "captions.json").write_text('{"a": "b"}')
    config = make_config(
        {
            "output_dir": str(tmp_path / "output"),
            "qa": {
                "question_path": str(tmp_path / "captionqa.parquet"),
                "dataset_path": str(tmp_path),
                "preset": "captionqa",
                "protocol": "captionqa",
                "contexts": ["image", "caption", "none"],
                "captions_from": str(tmp_path / "captions.json"),
            },
        }
    )
    return config, rows


def planned(config):
    """The planned questions: {qid: row} of all, and {qid: text} of those that are asked."""
    layout = Layout(config.output_dir, config.model_name)
    plan = plan_task(config, layout, "qa")
    rows = {row["id"]: row for row in read_json_lines(layout.question_rows(plan.rows))}
    entries = [entry for path in plan.item_lists(layout, "qa") for entry in read_json_lines(path)]
    return rows, {entry["id"]: entry["question"] for entry in entries}


def test_240_prompts_are_those_of_the_published_rules(protocol):
    config, rows = protocol
    captions = {row["id"]: f"Caption of {row['id']}.\nIn two lines." for row in rows}
    expected = published_prompts(rows, captions)
    assert len(expected) == 240
    planned_rows, texts = planned(config)
    template = qa_settings(config, config.model_name, Context("caption", "file", "f"))["caption_template"]
    assert {f"{one}/{number}" for one, number in expected} == set(texts)
    for (one, number), (prompt, order, right, choices) in expected.items():
        qid = f"{one}/{number}"
        assert place_captions(texts[qid], [captions[one]], template) == prompt
        assert planned_rows[qid]["permutation"] == order
        assert planned_rows[qid]["choices"] == [[*choices, "Cannot answer from the caption"][i] for i in order]
        assert planned_rows[qid]["answer"].strip() == choices[right].strip()


def test_two_plans_ask_the_same_and_one_of_a_part_shuffles_as_the_whole(protocol, make_config, tmp_path):
    config, _ = protocol
    once = planned(config)
    layout = Layout(str(tmp_path / "again"), config.model_name)
    again = planned(replace(config, output_dir=layout.output_dir))
    assert once == again
    part = planned(replace(config, output_dir=str(tmp_path / "part"), qa=replace(config.qa, limit=20)))[1]
    assert len(part) == 20
    assert part.items() <= once[1].items()


def test_what_the_published_evaluation_leaves_out_fails_by_name_and_is_never_wrong(protocol):
    rows, texts = planned(protocol[0])
    left_out = [row for qid, row in rows.items() if qid not in texts]
    assert len(left_out) == 24
    tally = ProtocolTally()
    for row in left_out:
        with pytest.raises(ItemFailure, match="CaptionQA protocol"):
            qa_record(row, {"id": row["id"]}, GradingRules())
        tally.add_failure(row)
    assert tally.metrics() is None


@pytest.fixture
def answered(protocol):
    """The records of random outputs, and what the script makes of them; every tenth question failed."""
    config, rows = protocol
    expected = published_prompts(rows, {row["id"]: "" for row in rows})
    planned_rows, _ = planned(config)
    draw, tally, found, failed = random.Random(1), ProtocolTally(), {}, []
    for at, ((one, number), (_, order, right, choices)) in enumerate(expected.items()):
        row, output = planned_rows[f"{one}/{number}"], draw.choice(OUTPUTS)
        if at % 10 == 0:
            tally.add_failure(row)
            failed.append(row)
            continue
        answer = {"text": output, "finish_reason": draw.choice(["stop", "length"])}
        record = qa_record(row, {"id": row["id"], "answer": answer}, GradingRules(answer_is="text"))
        tally.add_record(record)
        found[row["id"]] = record, published_score(output, order, right, choices)
    return tally.metrics(), found, failed


def test_216_scores_are_those_of_the_published_rules(answered):
    _, found, _ = answered
    assert len(found) == 216
    for record, expected in found.values():
        published = record["published"]
        assert (published["is_correct"], published["cannot_answer"], published["score"]) == expected, record
    assert {expected[2] for _, expected in found.values()} == {0.0, 0.3, 0.3833, 0.55, 1.0}


def test_the_figures_of_the_published_code_and_ours_stand_side_by_side(answered):
    metrics, found, failed = answered
    scores = [expected for _, expected in found.values()]
    published = metrics["published"]
    assert published["questions"] == len(found) + len(failed) == 240
    assert published["score"] == pytest.approx(sum(score for _, _, score in scores) / 240)
    assert published["accuracy"] == pytest.approx(sum(right for right, _, _ in scores) / 240)
    assert published["cannot_answer_rate"] == pytest.approx(sum(cannot for _, cannot, _ in scores) / 240)
    own, records = metrics["own"], [record for record, _ in found.values()]
    assert (own["questions"], metrics["failed"]) == (216, 24)
    assert own["score"] == pytest.approx(sum(record["score"] for record in records) / 216)
    assert own["accuracy"] == pytest.approx(sum(record["is_correct"] for record in records) / 216)
    assert own["score_interval_95"][0] < own["score"] < own["score_interval_95"][1]
    assert own["score_with_one_more_choice"] < own["score"]
    differ = [record for record in records if record["published"]["letter"] != record["predicted_letter"]]
    assert metrics["read_differently"] == len(differ) > 0
    # Is there a cat, Is it red or blue, and the two choices with parts of words; of these one has a yes and a no
    assert metrics["yes_no"] == sum(len(re.findall(r"Is |When was", record["question"])) for record in records)
    assert metrics["yes_no_without_yes_and_no"] == sum(
        len(re.findall(r"Is it|When was", record["question"])) for record in records
    )


def test_figures_are_per_domain_and_category(answered):
    metrics = answered[0]
    assert set(metrics["domains"]) == {"natural", "document"}
    assert set(metrics["categories"]) == {"Attribute - Color", "Spatial - Position", "Hallucination"}
    assert set(metrics["main_categories"]) == {"Attribute", "Spatial", "Hallucination"}
    for groups in (metrics["domains"], metrics["categories"], metrics["main_categories"]):
        assert sum(group["published"]["questions"] for group in groups.values()) == 240
        assert sum(group["failed"] for group in groups.values()) == 24


@pytest.mark.parametrize(
    ("output", "published", "own"),
    [
        ("B", "B", "B"),
        ("It shows a cat", "A", None),
        ("B\nThe sand is yellow.", None, "B"),
        ("b.", "B", "B"),
        ("2", "B", None),
        ("I", None, None),
        ("<think>A or B", "A", None),
    ],
)
def test_where_the_two_readers_differ(output, published, own):
    row = {"id": "q", "question": "Q", "answer": "x", "images": [], "category": "c", "source": "s"}
    row |= {"choices": ["x", "y", "Cannot answer from the caption"], "permutation": [0, 1, 2]}
    record = qa_record(row, {"id": "q", "answer": {"text": output, "finish_reason": "length"}}, GradingRules())
    assert (published_letter(output, 3), record["predicted_letter"]) == (published, own)


def test_each_context_has_its_system_message_and_no_other_run_gets_one(protocol, make_config):
    config, name = protocol[0], protocol[0].model_name
    for context in config.contexts:
        settings = qa_settings(config, name, context)
        assert settings["system_prompt"] == SYSTEM_PROMPTS[context.kind]
        assert settings["max_tokens"] == 4
        first, second = ChatRequest(["Q"], 4, system=settings["system_prompt"]).messages()
        assert (first["role"], first["content"]) == ("system", SYSTEM_PROMPTS[context.kind])
        assert second["role"] == "user"
    assert SYSTEM_PROMPTS["caption"].endswith("Answer with a SINGLE LETTER (A, B, C, ...), no explanation.")
    assert "system_prompt" not in qa_settings(make_config(), name)
    assert [message["role"] for message in ChatRequest(["Q"], 4).messages()] == ["user"]


def test_the_leaderboards_caption_file_has_a_caption_for_all_questions_of_a_row():
    captions = QuestionCaptions({}, {}, {"nat_001": "A cat.", "nat_002": "A dog."})
    image = "validation.parquet#group=0&row=0&column=images&index=0"
    assert captions.of(image, "nat_001/12", 1) == "A cat."
    with pytest.raises(ItemFailure, match="has no caption"):
        captions.of(image, "nat_003/1", 1)


def test_the_captions_of_this_run_have_the_leaderboards_keys(tmp_path):
    pd.DataFrame([{"id": "nat_001", "images": [{"bytes": b"1", "path": "1.png"}]}]).to_parquet(tmp_path / "t.parquet")
    layout = Layout(str(tmp_path / "output"), "tiny")
    columns = CaptionColumnsConfig("auto", "auto")
    plan = plan_captions(tmp_path / "t.parquet", "auto", layout, columns, None, "auto", None)
    entries = [entry["id"] for path in plan.item_lists(layout, "captions") for entry in read_json_lines(path)]
    assert entries == ["nat_001"]


@pytest.mark.parametrize(
    ("key", "value"), [("instruction", "Think."), ("scoring", "anls"), ("fallback", True), ("answer_is", "letter")]
)
def test_a_key_that_contradicts_the_protocol_is_refused(make_config, key, value):
    with pytest.raises(ConfigError, match=rf"qa\.{key}: with qa\.protocol: captionqa it is .*; leave the key out"):
        make_config({"qa": {"protocol": "captionqa", key: value}})


def test_a_longer_limit_of_tokens_may_be_given_for_models_that_reason(make_config):
    assert make_config({"qa": {"protocol": "captionqa", "max_tokens": 2048}}).qa.max_tokens == 2048
    assert make_config({"qa": {"protocol": "captionqa"}}).qa.max_tokens == 4
