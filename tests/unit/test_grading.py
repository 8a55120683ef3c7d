"""Grading: the fixed order of rules, and that nothing is ever guessed."""

import pytest
from captionqa.grading import extract_answer, final_part, grade, ground_truth_letter, last_box
from hypothesis import given
from hypothesis import strategies as st

CHOICES = ["red", "dark blue", "green", "3 cm"]


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
    r"\boxed{A. green}",
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


def test_an_option_that_begins_with_a_letter_is_not_taken_for_that_letter():
    assert extract_answer("Answer: A red ball", ["A blue ball", "A red ball"]) in ("B", None)
    assert extract_answer("The answer is A red ball.", ["One blue ball", "A red ball"]) in ("B", None)
    assert extract_answer("Answer: A red ball, since it is red.", ["A blue ball", "A red ball"]) in ("B", None)


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


@given(inner=st.text(alphabet="ab{}", max_size=12), before=st.text(max_size=10), after=st.text(max_size=10))
def test_a_balanced_box_is_found_wherever_it_is(inner, before, after):
    depth = 0
    for sign in inner:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            break
    if depth == 0 and r"\boxed{" not in after:
        assert last_box(f"{before}\\boxed{{{inner}}}{after}") == inner.strip()


@given(st.text())
def test_any_text_is_graded_without_an_error(text):
    for choices in (CHOICES, []):
        graded = grade(text, "A", choices)
        assert graded.predicted_letter is None or graded.predicted_letter in "ABCD"


@given(st.text())
def test_a_letter_is_never_out_of_range(text):
    for output in (text, f"Answer: {text}", f"\\boxed{{{text}}}"):
        assert extract_answer(output, CHOICES[:2]) in ("A", "B", None)


def test_the_final_part_is_none_only_for_unfinished_reasoning():
    assert final_part("plain") == "plain"
    assert final_part("<think>a</think> b") == " b"
    assert final_part("<think>a") is None


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
        (r"\boxed{E}", None),
        (r"\boxed{12}", None),
        ("purple", None),
    ],
)
def test_ground_truth_is_read_in_every_form(answer, letter):
    assert ground_truth_letter(answer, CHOICES) == letter


def test_without_choices_there_is_no_ground_truth_letter():
    assert ground_truth_letter(r"\boxed{A}", []) is None


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
            for value in ("12 or 13", "13 or 12", "not 12", "about 12", "11 to 12", "no idea")
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
