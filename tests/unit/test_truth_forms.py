"""Ground truths in the forms that data sets have: understood, or refused in a sentence; never wrong in silence."""

import pytest
from captionqa.grading import extract_answer, grade
from captionqa.grading.ground_truth import GroundTruth
from captionqa.grading.scoring import GradingRules

STATES = ["Ohio", "Utah", "Iowa", "Maine"]
DIGITS = ["10", "1", "2", "3"]


def letter(answer, choices, **rules):
    return GroundTruth.read(answer, choices, GradingRules(**rules)).letter


def fault(answer, choices, **rules):
    return GroundTruth.read(answer, choices, GradingRules(**rules)).fault


@pytest.mark.parametrize(
    ("answer", "choices", "answer_is", "expected"),
    [
        ("0", STATES, "index0", "A"),
        ("3", STATES, "index0", "D"),
        ("1", STATES, "index1", "A"),
        ("2.0", STATES, "index0", "C"),
        ("2", DIGITS, "index0", "C"),
        ("1", DIGITS, "index0", "B"),
        ("1", DIGITS, "text", "B"),
        ("2", DIGITS, "text", "C"),
        ("10", DIGITS, "auto", "A"),
        ("D", ["c", "D", "b", "a"], "text", "B"),
        ("D", ["c", "D", "b", "a"], "letter", "D"),
        ("D", ["c", "D", "b", "a"], "auto", "D"),
        ("utah.", STATES, "text", "B"),
        ("y", ["x", "y"], "auto", "B"),
        ("Y", ["x", "y"], "auto", "B"),
        ("(b)", STATES, "letter", "B"),
        ("√3", [r"\sqrt{2}", r"\sqrt{3}"], "auto", "B"),
        ("x²", ["$x^{3}$", "$x^{2}$"], "auto", "B"),
        ("3π", [r"$2\pi$", r"$3\pi$"], "auto", "B"),
        ("1/2", [r"$\frac{1}{3}$", r"$\frac{1}{2}$"], "text", "B"),
        ("True", ["Yes", "No"], "auto", "A"),
        ("no", ["True", "False"], "auto", "B"),
        (["B"], STATES, "auto", "B"),
        ("['B']", STATES, "auto", "B"),
        (["Utah", "B"], STATES, "auto", "B"),
        (r"\boxed{B}, that is \boxed{B}", STATES, "auto", "B"),
        ("none of the above", ["red", "none of the above"], "auto", "B"),
        ("K", [f"v{number}" for number in range(12)], "auto", "K"),
    ],
)
def test_the_option_of_a_ground_truth_is_found_in_every_form(answer, choices, answer_is, expected):
    assert letter(answer, choices, answer_is=answer_is) == expected
    assert fault(answer, choices, answer_is=answer_is) is None


@pytest.mark.parametrize(
    ("output", "letter"),
    [
        ("K", "K"),
        ("The answer is (L).", "L"),
        (r"\boxed{K}", "K"),
        ("The answer is A or K.", None),
        ("The answer is M.", None),
    ],
)
def test_letters_after_the_tenth_are_read_like_others(output, letter):
    assert extract_answer(output, [f"v{number}" for number in range(12)]) == letter


@pytest.mark.parametrize(
    ("answer", "choices", "rules", "says"),
    [
        ("2", STATES, {}, "set qa.answer_is to index0"),
        ("0", STATES, {}, "set qa.answer_is to index0"),
        ("4", STATES, {"answer_is": "index0"}, "is no index from 0 to 3"),
        ("0", STATES, {"answer_is": "index1"}, "is no index from 1 to 4"),
        ("-1", STATES, {"answer_is": "index0"}, "is no index from 0 to 3"),
        ("B", STATES, {"answer_is": "index0"}, "is no index from 0 to 3"),
        ("1", [], {"answer_is": "index0"}, "the question has no choices"),
        ("Utah", STATES, {"answer_is": "letter"}, "is no letter of A to D"),
        ("B", STATES, {"answer_is": "text"}, "is the text of no choice"),
        ("?", STATES, {}, "hides the answer"),
        ("?", [], {}, "hides the answer"),
        ("nan", [], {}, "hides the answer"),
        ("", [], {}, "is empty"),
        (r"\boxed{A} and \boxed{C}", STATES, {}, "names several choices"),
        (["A", "C"], STATES, {}, "names several choices"),
        ("['dog']", [], {"scoring": "vqa"}, "1 of the 4 or more answers"),
    ],
)
def test_what_no_answer_can_match_is_refused_in_a_sentence(answer, choices, rules, says):
    assert says in fault(answer, choices, **rules)


@pytest.mark.parametrize(
    ("output", "answer", "rules", "expected"),
    [
        ("1/3", "['0.33', '1/3']", {}, True),
        ("The answer is 0.33.", "['0.33', '1/3']", {}, True),
        ("0.34", "['0.33', '1/3']", {}, False),
        ("$0.28", ["0.28", "$0.28"], {}, True),
        ("Yes", ["Yes"], {}, True),
        ("net", "['netting' 'net'\n 'mesh']", {}, True),
        ("net", "[{'answer': 'net', 'answer_id': 1}, {'answer': 'mesh', 'answer_id': 2}]", {}, True),
        ("dog", "cat|dog", {}, True),
        ("cow", "cat|dog", {}, False),
        ("2", "[1, 2]", {}, False),
        ("[1, 2]", "[1, 2]", {}, True),
        ("2", "[1, 2]", {"answer_is": "list"}, True),
        ("|x|", "|x|", {}, True),
        ("P(A|B)", "P(A|B)", {}, True),
        ("B", "P(A|B)", {}, False),
        ("Apple", ["Apple", "Banana"], {"scoring": "exact"}, False),
        ("Banana, Apple", ["Apple", "Banana"], {"scoring": "exact"}, True),
        ("Banana, Apple", "['Apple', 'Banana']", {"scoring": "exact"}, True),
        ("dog", "cat|dog", {"scoring": "exact"}, False),
        (r"\boxed{3}, \boxed{5}", r"\boxed{3} and \boxed{5}", {}, True),
        ("5", r"\boxed{3} and \boxed{5}", {}, False),
        ("5", r"\boxed{3} or \boxed{5}", {}, True),
        ("yes", "True", {}, True),
        ("Yes, there is.", "True", {}, True),
        ("No.", "True", {}, False),
        ("False", "no", {}, True),
        ("103", "100", {"scoring": "relaxed"}, True),
        ("106", "100", {"scoring": "relaxed"}, False),
        ("B", "A|B", {}, True),
    ],
)
def test_any_acceptable_answer_is_right(output, answer, rules, expected):
    graded = grade(output, answer, [], **rules)
    assert graded.is_correct is expected
    assert graded.score == float(expected)


@pytest.mark.parametrize(
    ("output", "answer", "expected"),
    [
        ("It can't be determined from the image.", "cannot be determined", True),
        ("Not enough information.", "not enough information", True),
        ("None of the above", "none of the above", True),
        ("Error 404", "error 404", True),
        ("I'm sorry, I cannot answer.", "error 404", False),
        ("I'm sorry, I cannot answer.", "cannot be determined", False),
        ("It is not true that it cannot be determined.", "cannot be determined", False),
        ("12", "cannot be determined", False),
        ("Cannot be determined", "12", False),
    ],
)
def test_an_honest_answer_is_no_refusal_where_the_ground_truth_says_the_same(output, answer, expected):
    graded = grade(output, answer, [])
    assert graded.is_correct is expected
    assert not (expected and graded.refused)
