"""Choices: what is read as the options that a question lists, and what is not."""

import json
from pathlib import Path

import pytest
from captionqa.grading.choices import parse_choices
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    "question",
    [
        "Which?\nA. red\nB. dark blue\nC. green",
        "Which?\nA) red\nB) dark blue\nC) green",
        "Which?\nA: red\nB: dark blue\nC: green",
        "Which?\n(A) red\n(B) dark blue\n(C) green",
        "Which?\na. red\nb. dark blue\nc. green",
        "Which?\n  A. red\n  B. dark blue  \n\n  C. green\n",
        "Which? (A) red (B) dark blue (C) green",
        "Which?\n(A) red (B) dark blue (C) green",
        "Which?\r\nA. red\r\nB. dark blue\r\nC. green",
    ],
)
def test_choices_are_found_in_every_promised_form(question):
    assert parse_choices(question) == ["red", "dark blue", "green"]


@pytest.mark.parametrize(
    "question",
    [
        "What is this?",
        "",
        "In figure (B) and figure (C), what is seen?",
        "How long is (A) in the drawing?",
        "Which?\nB. red\nC. blue",
        "Name one thing.\nA. red",
        "Vitamin A. It is good. Vitamin B. It is better.",
    ],
)
def test_a_text_without_choices_has_none(question):
    assert parse_choices(question) == []


CASES = [json.loads(line) for line in Path(__file__).with_name("choices_cases.jsonl").open(encoding="utf-8")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_choices_are_read_as_a_reader_would(case):
    assert parse_choices(case["question"]) == case["choices"]


@given(st.text(alphabet="ABab().:; \n*?x", max_size=40))
def test_any_text_is_searched_for_choices_without_an_error(text):
    choices = parse_choices(text)
    assert len(choices) != 1
    assert all(choices)


@pytest.mark.parametrize("unit", ["A. ", "(A) ", "(A) x (B) y ", "\nA. x", "A", " ", "\n"])
def test_no_question_takes_for_ever(unit, end_hanging):
    assert isinstance(parse_choices(unit * (100_000 // len(unit))), list)


def test_points_of_a_drawing_are_not_taken_for_choices():
    question = "The line joins (A) and (B). How long is it?\nA. 3 cm\nB. 4 cm"
    assert parse_choices(question) == ["3 cm", "4 cm"]
    assert parse_choices("Point (A) is up and point (C) down. Which is red? (A) up (B) down") == ["up", "down"]


def test_letters_after_a_gap_are_no_choices():
    assert parse_choices("Which?\nA. red\nB. blue\nD. green")[:1] == ["red"]
    assert len(parse_choices("Which?\nA. red\nB. blue\nD. green")) == 2


def test_up_to_ten_choices_are_read():
    question = "Which?\n" + "\n".join(f"{letter}. {letter.lower() * 3}" for letter in "ABCDEFGHIJ")
    assert parse_choices(question) == [letter * 3 for letter in "abcdefghij"]


def test_an_instruction_after_the_last_choice_is_no_part_of_it():
    question = "Which?\nA. red\nB. blue\nAnswer with the option's letter from the given choices directly."
    assert parse_choices(question) == ["red", "blue"]


def test_an_answer_cue_at_the_end_is_no_part_of_the_last_choice():
    assert parse_choices("Which?\n(A) red\n(B) blue\n\nAnswer:") == ["red", "blue"]


@given(st.lists(st.from_regex(r"[a-z]{2,8}( [a-z]{2,8})?", fullmatch=True), min_size=2, max_size=10))
def test_any_choices_come_back_in_order(choices):
    lines = [f"{letter}. {choice}" for letter, choice in zip("ABCDEFGHIJ", choices, strict=False)]
    assert parse_choices("Which of these?\n" + "\n".join(lines)) == choices
