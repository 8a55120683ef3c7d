"""Grading: the fixed order of rules, and that nothing is ever guessed."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from captionqa.grading import math_verify
from captionqa.grading.choices import LETTERS
from captionqa.grading.ground_truth import GroundTruth, extract_answer, grade
from captionqa.grading.math_verify import SHORT_LIMIT_S, Verifier
from captionqa.grading.model_output import boxes, without_reasoning
from captionqa.grading.same_value import same_value
from hypothesis import given, settings
from hypothesis import strategies as st

CHOICES = ["red", "dark blue", "green", "3 cm"]
CASES = [json.loads(line) for line in Path(__file__).with_name("grading_cases.jsonl").open(encoding="utf-8")]
FREE_FORM = [json.loads(line) for line in Path(__file__).with_name("freeform_cases.jsonl").open(encoding="utf-8")]
TRUNCATED = [json.loads(line) for line in Path(__file__).with_name("truncated_cases.jsonl").open(encoding="utf-8")]
#: What models write around a letter; {} is the letter.
SAYINGS = [
    "{}",
    "The answer is {}.",
    "Answer: ({})",
    r"\boxed{{{}}}",
    "I choose {}.",
    "Option {} is correct.",
    "答案是{}",
    "({})\n\nIt has four legs.",
    "<answer>{}</answer>",
    '{{"answer": "{}"}}',
    "The answer is not {}.",
    "Neither is right.",
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['why']}: {case['output'][:40]!r}")
def test_answers_are_read_as_a_reader_would(case):
    assert extract_answer(case["output"], case["choices"]) == case["expected"]


@pytest.mark.parametrize("case", FREE_FORM, ids=lambda case: f"{case['why']}: {case['output'][:40]!r}")
def test_free_form_answers_are_graded_as_a_reader_would(case):
    assert grade(case["output"], case["ground_truth"], []).is_correct is case["is_correct"]


@pytest.mark.parametrize("case", TRUNCATED, ids=lambda case: f"{case['output'][:40]!r}")
def test_a_truncated_output_is_an_answer_only_by_a_complete_box_or_announcement(case):
    assert extract_answer(case["output"], case["choices"], truncated=True) == case["expected"]
    graded = grade(case["output"], "B", case["choices"], truncated=True)
    assert (graded.predicted_letter, graded.parsed) == (case["expected"], case["expected"] is not None)


@pytest.mark.parametrize(
    ("output", "is_correct"),
    [
        ("The answer is 12", False),
        ("The answer is 12.", False),  # 12.5 may have been meant
        ("The answer is 12. So", True),
        ("Answer: 12\nThe", True),
        (r"\boxed{12}", True),
        ("12", False),
        ("There are 12 dogs. The", False),
    ],
)
def test_a_truncated_value_counts_only_where_its_sentence_goes_on_to_another(output, is_correct):
    assert grade(output, "12", [], truncated=True).is_correct is is_correct
    assert grade(output, "12", [], scoring="anls", truncated=True).is_correct is is_correct


@pytest.mark.parametrize(
    ("output", "letter", "rule"),
    [
        (r"\boxed{B}", "B", "box"),
        (r"The answer is A, no: \boxed{B}", "B", "box"),
        (r"\boxed{B} so the answer is A", "B", "box"),
        (r"\boxed{A} or rather \boxed{B}", "B", "box"),
        (r"\boxed{\text{B}}", "B", "box"),
        (r"\boxed{\textbf{(B)}}", "B", "box"),
        (r"$\boxed{ b }$", "B", "box"),
        (r"\boxed{(B)}", "B", "box"),
        (r"\boxed{B.}", "B", "box"),
        (r"\boxed{B. dark blue}", "B", "box"),
        (r"\boxed{\text{B. Dark  Blue}}", "B", "box"),
        (r"\boxed{dark blue}", "B", "box"),
        (r"\boxed{\boxed{B}}", "B", "box"),
        (r"\boxed{B} and then \boxed{A", "B", "box"),
        ("The answer is B.", "B", "cue"),
        ("the ANSWER is (B), clearly", "B", "cue"),
        ("Answer: B", "B", "cue"),
        ("**Answer:** B", "B", "cue"),
        ("**Answer: B**", "B", "cue"),
        ("The answer is **B**.", "B", "cue"),
        ("The answer is: B", "B", "cue"),
        ("Answer:\nB", "B", "cue"),
        ("Answer: B) dark blue", "B", "cue"),
        ("Answer: b", "B", "cue"),
        ("The correct answer is dark blue.", "B", "cue"),
        ("The answer is A. No, the answer is B.", "B", "cue"),
        ("It could be A. Answer: B\nA is wrong since it is not red.", "B", "cue"),
        ("The answer is B, because A and C are wrong.", "B", "cue"),
        ("The answer is B. A would be wrong.", "B", "cue"),
        ("The answer is B and I am sure.", "B", "cue"),
        ("B", "B", "letter"),
        ("b", "B", "letter"),
        ("(B)", "B", "letter"),
        ("B.", "B", "letter"),
        (" **B** \n", "B", "letter"),
        ("It is dark blue.", "B", "option text"),
        ("DARK BLUE", "B", "option text"),
        ("I would say 3 cm", "D", "option text"),
    ],
)
def test_rules_are_tried_in_the_promised_order(output, letter, rule):
    graded = grade(output, r"\boxed{B}", CHOICES)
    assert (graded.predicted_letter, graded.rule) == (letter, rule)
    assert graded.is_correct is (letter == "B")
    assert graded.parsed
    assert extract_answer(output, CHOICES) == letter


NOTHING = [
    "",
    "   ",
    "A or B",
    "The answer is A or B.",
    "The answer is A or B, or both.",
    "Answer: A/B",
    "Answer: A and B",
    "Answer: A, B",
    "The answer is A, B or C.",
    "The answer is A (or B).",
    "The answer is A or possibly B.",
    "The answer is A, or maybe B",
    "The answer is either A or B.",
    r"\boxed{A or B}",
    r"\boxed{A, B}",
    r"\boxed{AB}",
    r"\boxed{}",
    r"\boxed{E}",
    r"\boxed{A",
    "E",
    "The answer is E.",
    "The answer is J.",
    "(Z)",
    "The answer is unclear.",
    "Red or green?",
    "It is neither red nor green.",
    "A lovely picture",
    "I think that it is purple.",
    "redder than ever",
    "The ball measures 13 cm.",
    "It measures 0.3 cm.",
]


@pytest.mark.parametrize("output", NOTHING)
def test_what_commits_to_no_single_option_is_null_and_wrong(output):
    graded = grade(output, r"\boxed{A}", CHOICES)
    assert graded.predicted_letter is None
    assert (graded.is_correct, graded.parsed, graded.rule) == (False, False, "none")


@pytest.mark.parametrize(
    "output", [r"\boxed{E} The answer is A.", r"\boxed{A or B} A", "The answer is unclear. \nred", "Answer: E\n\nred"]
)
def test_a_rule_that_applies_but_fails_is_not_replaced_by_a_weaker_one(output):
    assert extract_answer(output, CHOICES) is None


@pytest.mark.parametrize("words", range(8))
def test_of_two_options_that_end_alike_the_longer_one_is_read_wherever_it_stands(words):
    output = f"It is {'very ' * words}clear. The answer is the cat on a mat."
    assert extract_answer(output, ["cat", "the cat", "dog"]) == "B"


def test_an_option_that_begins_with_a_letter_is_not_taken_for_that_letter():
    assert extract_answer("Answer: A red ball", ["A blue ball", "A red ball"]) == "B"
    assert extract_answer("The answer is A red ball.", ["One blue ball", "A red ball"]) == "B"
    assert extract_answer("Answer: A red ball, since it is red.", ["A blue ball", "A red ball"]) == "B"


@settings(deadline=None)
@given(
    pieces=st.lists(
        st.sampled_from(
            [
                "A",
                "B",
                "(C)",
                "J",
                "answer is ",
                "Answer: ",
                "\n",
                " ",
                ". ",
                "not ",
                "or ",
                "\\boxed{",
                "}",
                "red",
                "**",
                "<answer>",
                "</answer>",
                "<think>",
                "</think>",
                "option ",
                "is correct",
                "答案",
                "wait, ",
                "?",
                "I ",
                "\\text{",
            ]
        ),
        max_size=30,
    )
)
def test_no_mixture_of_what_is_read_gives_an_error_or_a_letter_out_of_range(pieces):
    for choices in (CHOICES, CHOICES[:2], [], ["A", "B"], ["", " "]):
        letter = extract_answer("".join(pieces), choices)
        assert letter is None or letter in "ABCD"[: len(choices)]


@given(
    said=st.lists(st.tuples(st.sampled_from(SAYINGS), st.sampled_from("ABCDE")), min_size=1, max_size=3),
    texts=st.lists(
        st.one_of(
            st.from_regex(r"x[a-z]{3,8}q", fullmatch=True),
            st.from_regex(r"option [A-D] in picture [0-9] is the answer", fullmatch=True),
        ),
        min_size=4,
        max_size=4,
        unique=True,
    ),
)
def test_letters_are_read_alike_whatever_the_options_say(said, texts):
    output = "\n".join(saying.format(letter) for saying, letter in said)
    assert extract_answer(output, texts) == extract_answer(output, ["alpha", "beta", "gamma", "delta"])


@pytest.mark.parametrize(
    "unit",
    [
        "\n",
        " ",
        "answer is ",
        "The answer is A, ",
        "I think ",
        "(A",
        "A. ",
        "\\boxed{",
        "{",
        "<think>",
        "<answer>",
        "red ",
        "*",
        "答案是",
        "\\text{",
        "<|begin_of_box|>",
        "Question: ",
        "1,",
        "not ",
        "Wait, wrong ",
        ":\n(A) x",
        "(A, ",
        "If ",
        "the answer is ...\n",
        "correct a b c d e f g ",
    ],
)
def test_no_text_takes_for_ever(unit, end_hanging):
    text = unit * (100_000 // len(unit))
    extract_answer(text, CHOICES)
    grade(text, "12", [])


def test_letters_words_and_plain_numbers_are_graded_without_math_verify():
    code = (
        "import sys\n"
        "from captionqa.grading.ground_truth import grade\n"
        "for said in ('We look. The answer is B.', 'Answer: (C) green', 'So it is dark blue.', '3 cm', ''):\n"
        "    grade(said, 'B', ['red', 'dark blue', 'green', '3 cm'])\n"
        "    grade(said, '12', [])\n"
        "assert 'math_verify' not in sys.modules and 'sympy' not in sys.modules\n"
    )
    path = str(Path(__file__).parents[2] / "workflow")
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": path})


@pytest.mark.parametrize(
    "output",
    [
        "I'm sorry, I cannot tell whether it is red.",
        "I cannot determine if the ball is green.",
        "Sorry, I am unable to say whether this is dark blue.",
        "It cannot be determined if it is red.",
    ],
)
def test_a_refusal_that_names_an_option_is_null_and_counted_as_refused(output):
    graded = grade(output, "A", CHOICES)
    assert graded.predicted_letter is None
    assert (graded.is_correct, graded.parsed, graded.refused) == (False, False, True)


def test_an_answer_is_no_refusal():
    assert not grade("The answer is A.", "A", CHOICES).refused
    assert not grade("The arrow can not be red. \\boxed{B}", "A", CHOICES).refused


def test_an_option_that_reads_like_a_refusal_can_be_chosen():
    choices = ["Red", "It cannot be determined"]
    assert extract_answer("The answer is B.", choices) == "B"
    assert extract_answer(r"\boxed{It cannot be determined}", choices) == "B"


@pytest.mark.parametrize(
    ("output", "letter"),
    [
        ("<think>The answer is A. \\boxed{A}</think>B", "B"),
        ("The answer is A.</think>The answer is B.", "B"),
        ("<think>A</think> no <think>C</think> B", "B"),
        ("<think>It is red, so \\boxed{A}", None),
        ("<think>The answer is A", None),
        ("<think>The answer is A.</think>", None),
        ("<think>one</think><think>The answer is A", None),
    ],
)
def test_text_before_a_closing_think_is_not_considered(output, letter):
    assert extract_answer(output, CHOICES) == letter


def test_truncated_reasoning_is_wrong_and_unparsed_for_free_form_too():
    graded = grade(r"<think>so \boxed{12}", r"\boxed{12}", [])
    assert (graded.is_correct, graded.parsed) == (False, False)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{a}", "a"),
        (r"\boxed{\frac{1}{2}} and \boxed{ x_{1} }", "x_{1}"),
        (r"\boxed{\boxed{a}}", "a"),
        (r"\boxed{a} \boxed{b", "a"),
        (r"\boxed{a{b}", None),
        ("no box", None),
        (r"\boxed{}", ""),
    ],
)
def test_the_last_balanced_box_counts(text, box):
    assert last_box(text) == box


def last_box(text):
    found = boxes(text)
    return text[slice(*found[-1].content)].strip() if found else None


@given(inner=st.text(alphabet="ab{}", max_size=12), before=st.text(max_size=10), after=st.text(max_size=10))
def test_a_balanced_box_is_found_wherever_it_is(inner, before, after):
    depth = 0
    for sign in inner:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            break
    if depth == 0 and r"\boxed{" not in after:
        assert last_box(f"{before}\\boxed{{{inner}}}{after}") == inner.strip()


@settings(deadline=None)
@given(
    choices=st.lists(st.text(st.characters(), max_size=12), max_size=12),
    pieces=st.lists(
        st.one_of(
            st.integers(0, 11),
            st.sampled_from([saying.format(letter) for saying in SAYINGS for letter in "BJ"]),
            st.text(st.characters(), max_size=8),
        ),
        max_size=6,
    ),
)
def test_whatever_the_options_say_a_letter_is_one_of_theirs(choices, pieces):
    said = [piece if isinstance(piece, str) else (choices or [""])[piece % max(1, len(choices))] for piece in pieces]
    assert extract_answer(" ".join(said), choices) in (None, *LETTERS[: len(choices)])


@given(st.text(st.characters()))
def test_any_text_is_graded_without_an_error(text):
    for choices in (CHOICES, []):
        graded = grade(text, "A", choices)
        assert graded.predicted_letter is None or graded.predicted_letter in "ABCD"


@given(st.text())
def test_a_letter_is_never_out_of_range(text):
    for output in (text, f"Answer: {text}", f"\\boxed{{{text}}}"):
        assert extract_answer(output, CHOICES[:2]) in ("A", "B", None)


def test_the_text_without_reasoning_is_none_only_for_unfinished_reasoning():
    assert without_reasoning("plain") == "plain"
    assert without_reasoning("<think>a</think> b") == " b"
    assert without_reasoning("<think>a") is None


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        (r"\boxed{B}", "B"),
        ("B", "B"),
        ("(B)", "B"),
        ("b.", "B"),
        ("B. dark blue", "B"),
        (r"\boxed{\text{dark blue}}", "B"),
        ("Dark Blue", "B"),
        ("B) dark blue", "B"),
        ("Answer: B", "B"),
        (r"\boxed{3}", "D"),
        (r"\boxed{3\text{ cm}}", "D"),
        (r"\boxed{E}", None),
        (r"\boxed{12}", None),
        ("purple", None),
        ("A, B", None),
        ("A. green", None),
    ],
)
def test_ground_truth_is_read_in_every_form(answer, letter):
    assert GroundTruth.read(answer, CHOICES).letter == letter


def test_without_choices_there_is_no_ground_truth_letter():
    assert GroundTruth.read(r"\boxed{A}", []).letter is None


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        (r"\boxed{12}", r"\boxed{12}"),
        (r"\boxed{12.0}", r"\boxed{12}"),
        (r"\boxed{0.5}", r"\boxed{\frac{1}{2}}"),
        (r"\boxed{\frac{2}{4}}", r"\boxed{1/2}"),
        ("The answer is 12.", r"\boxed{12}"),
        ("Answer: $12$", "12"),
        (r"first \boxed{3}, then \boxed{12}", r"\boxed{12}"),
        (r"\boxed{Cat}", r"\boxed{cat}"),
        ("12", r"\boxed{12}"),
        ("A", r"\boxed{A}"),
    ],
)
def test_free_form_ground_truth_is_compared_by_value(output, answer):
    graded = grade(output, answer, [])
    assert graded.is_correct
    assert graded.parsed
    assert graded.predicted_letter is None


@pytest.mark.parametrize(
    "output",
    [
        r"\boxed{13}",
        "The answer is 13.",
        r"\boxed{}",
        *(
            form.format(value)
            for form in (r"\boxed{{{}}}", "The answer is {}.", "{}")
            for value in ("12 or 13", "13 or 12", "not 12", "more than 12", "11 to 12", "no idea")
        ),
    ],
)
def test_another_value_is_wrong(output):
    assert not grade(output, r"\boxed{12}", []).is_correct


@pytest.mark.parametrize("output", ["I cannot tell.", "There are many, perhaps 12 or 13.", ""])
def test_free_form_without_a_committed_value_is_unparsed(output):
    graded = grade(output, r"\boxed{12}", [])
    assert (graded.is_correct, graded.parsed, graded.rule) == (False, False, "none")


def test_a_value_beside_choices_that_are_no_match_is_compared_as_a_value():
    assert grade(r"\boxed{12}", r"\boxed{12}", CHOICES).is_correct


@pytest.mark.parametrize(
    ("answer", "choices", "reason"),
    [
        (r"\boxed{}", CHOICES, "is empty"),
        (r"\boxed{\text{}}", [], "is empty"),
        (r"\boxed{E}", CHOICES, "is no letter of the choices A to D"),
        ("(Z)", CHOICES, "is no letter of the choices A to D"),
        ("A, C", CHOICES, "names several choices"),
        ("AB", CHOICES, "names several choices"),
        ("purple", CHOICES, "neither a letter"),
        ("A. green", CHOICES, "neither a letter"),
        ("red", ["red", "red"], "neither a letter"),
    ],
)
def test_a_ground_truth_that_nothing_can_match_is_told_with_a_reason(answer, choices, reason):
    assert reason in GroundTruth.read(answer, choices).fault
    assert repr(answer) in GroundTruth.read(answer, choices).fault


@pytest.mark.parametrize(
    ("answer", "choices"),
    [
        ("B", CHOICES),
        (r"\boxed{dark blue}", CHOICES),
        (r"\boxed{12}", CHOICES),
        ("A", []),
        ("purple", []),
        ("3", CHOICES),
    ],
)
def test_other_ground_truth_can_be_graded(answer, choices):
    assert GroundTruth.read(answer, choices).fault is None


@pytest.mark.parametrize(("answer", "choices"), [(r"\boxed{B}", CHOICES), ("12", CHOICES), ("A", []), ("12 cm", [])])
def test_a_ground_truth_that_is_read_once_grades_any_number_of_outputs(answer, choices):
    truth = GroundTruth.read(answer, choices)
    for output in ("The answer is B.", "(A)", "12 cm", "dark blue", "It is unclear.", "<think>B", ""):
        assert truth.grade(output) == grade(output, answer, choices)


@pytest.mark.parametrize(
    ("wanted", "given_value"),
    [
        ("50%", "0.5"),
        ("50%", "50"),
        ("12 cm", "12"),
        ("12 cm", r"12\text{ cm}"),
        ("1,200", "1200"),
        ("1/3", "0.333333"),
        ("1, 2, 3", "3, 2, 1"),
        (r"90^\circ", "90 degrees"),
        (r"2\sqrt{2}", r"\sqrt{8}"),
        ("x^2+1", "1+x^2"),
        ("x = 12", "12"),
        (r"\{1, 2\}", "2, 1"),
        ("Paris", "paris."),
    ],
)
def test_values_are_the_same_in_every_form(wanted, given_value):
    assert same_value(wanted, given_value)


@pytest.mark.parametrize(
    ("wanted", "given_value"),
    [
        ("12 cm", "12 m"),
        ("12 million", "12"),
        ("1/3", "0.33"),
        ("[1,2)", "(1,2)"),
        ("1, 2", "1, 3"),
        ("12", "12 or 13"),
        ("cat", "dog"),
        ("x", ""),
        ("0", "0.0000001"),
    ],
)
def test_other_values_are_not_the_same(wanted, given_value):
    assert not same_value(wanted, given_value)


def test_values_are_compared_outside_the_main_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(same_value("a+b+c", "c+b+a")))
    thread.start()
    thread.join()
    assert found == [True]


@pytest.fixture
def verifier():
    verifier = Verifier(time_limit_s=0.5, lost_limit_s=1)
    yield verifier
    verifier.stop()


@pytest.mark.slow
def test_an_expression_that_cannot_be_computed_is_given_up(verifier):
    assert not verifier.same("1", "9^{9^{9^{9}}}")
    assert verifier.same("x+1", "1+x")


@pytest.mark.slow
def test_many_hostile_expressions_do_not_start_the_helper_anew_and_lose_their_time(verifier):
    assert verifier.same("x+1", "1+x")
    helper = verifier._helper.pid
    for number in range(8):
        assert not verifier.same("1", f"9^{{9^{{9^{{{number + 4}}}}}}}")
    assert verifier.same("x>1", "1<x")
    assert verifier._helper.pid == helper
    # the first two reach the limit on lost time, so the other six get the short limit
    assert verifier._lost_s == pytest.approx(2 * 0.5 + 6 * SHORT_LIMIT_S)


@pytest.mark.slow
def test_a_helper_that_was_killed_is_replaced(verifier):
    assert verifier.same("x+1", "1+x")
    os.killpg(verifier._helper.pid, signal.SIGKILL)
    assert verifier.same("x+1", "1+x")


def test_the_helper_needs_no_module_path_and_is_not_misled_by_our_module_of_the_same_name(verifier, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(Path(math_verify.__file__).parent)
    assert verifier.same("x+1", "1+x")


@pytest.mark.parametrize(
    ("wanted", "output", "tolerance", "expected"),
    [
        ("100", "105", 0.05, True),
        ("100", "95", 0.05, True),
        ("100", "105.1", 0.05, False),
        ("100", "94.9", 0.05, False),
        ("100", "105", 0, False),
        ("-100", "-104", 0.05, True),
        ("-100", "104", 0.05, False),
        ("0", "0.001", 0.05, False),
        ("100 cm", "The answer is 103 cm.", 0.05, True),
        ("100 cm", "The answer is 103 m.", 0.05, False),
        ("50%", "51%", 0.05, True),
        ("50%", "0.51", 0.05, True),
        ("1, 100", "1, 101", 0.05, False),
        ("(1, 100)", "(1, 101)", 0.05, False),
        ("x^2", "1.01x^2", 0.05, False),
        ("red", "red", 0.05, True),
    ],
)
def test_a_relative_tolerance_is_for_two_plain_numbers(wanted, output, tolerance, expected):
    assert grade(output, wanted, [], tolerance).is_correct is expected


def test_a_relative_tolerance_is_not_for_questions_with_choices():
    assert not grade(r"\boxed{12.1}", r"\boxed{12}", CHOICES, 0.05).is_correct
    assert grade(r"\boxed{12.1}", r"\boxed{12}", [], 0.05).is_correct


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet="0123456789x+-*/^(){}[]=,.%:;|!_<>±√½∞°三个 \\fracsqrtpmdo", max_size=14))
def test_any_value_is_compared_without_an_error(text):
    assert same_value(text, "12") in (True, False)
