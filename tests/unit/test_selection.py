"""A part of the questions: chosen by category, source and type, and up to a limit that a hash of the qid decides."""

import itertools
import json

import pytest
from captionqa.config.check import check
from captionqa.config.layout import Layout
from captionqa.dataset.plan import load_plan
from captionqa.dataset.planning import plan_task
from captionqa.dataset.selection import Selection
from captionqa.errors import ConfigError, InputError
from captionqa.files import read_json_lines

ROWS = [
    {
        "id": f"q{number}",
        "question": "Which?\nA. x\nB. y" if number % 3 == 0 else "What?",
        "answer": "A",
        "images": [],
        "category": "odd" if number % 2 else "even",
        "source": "s, t",
    }
    for number in range(1000)
]


def chosen(limit=None, rows=ROWS, **where):
    return [row["id"] for row in Selection(limit, where).of(rows)]


def test_without_either_all_are_asked():
    selection = Selection()
    assert list(selection.of(ROWS)) == ROWS
    assert selection.note() is None


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (100, 100), (1000, 1000), (5000, 1000), (0.1, 100), (0.9, 900)])
def test_a_limit_is_a_number_or_a_share(limit, count):
    assert len(chosen(limit)) == pytest.approx(count, abs=40 if limit < 1 else 0)


def test_a_higher_limit_keeps_what_a_lower_one_asked():
    sets = [set(chosen(limit)) for limit in (10, 0.05, 100, 0.5, None)]
    assert all(lower <= higher for lower, higher in itertools.pairwise(sets))


def test_other_rows_and_their_order_change_little():
    few = set(chosen(100))
    assert set(chosen(100, ROWS[::-1])) == few
    assert len(few - set(chosen(100, ROWS[:-10]))) <= 10


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"category": "odd"}, lambda number: number % 2),
        ({"category": ["odd", "even"]}, lambda number: True),
        ({"source": "t"}, lambda number: True),
        ({"source": "s, t", "category": "even"}, lambda number: number % 2 == 0),
        ({"type": "choices"}, lambda number: number % 3 == 0),
        ({"type": "open", "category": "odd"}, lambda number: number % 3 and number % 2),
    ],
)
def test_questions_are_chosen_by_what_they_are(where, wanted):
    assert chosen(**where) == [f"q{number}" for number in range(1000) if wanted(number)]


def test_a_limit_is_of_what_is_chosen():
    selection = Selection(20, {"category": "odd"})
    rows = list(selection.of(ROWS))
    assert (len(rows), {row["category"] for row in rows}) == (20, {"odd"})
    assert selection.note() == "20 of 1,000 questions are asked, as qa.limit and qa.where say"


def test_only_what_is_set_is_said_to_choose():
    selection = Selection(20)
    assert sum(1 for _ in selection.of(ROWS)) == 20
    assert selection.note() == "20 of 1,000 questions are asked, as qa.limit says"


def test_where_nothing_is_chosen_it_is_said_what_there_is():
    with pytest.raises(
        InputError, match=r"qa\.where: none of 1,000 questions is what it asks for; category is even, odd"
    ):
        chosen(category="strange")


def test_the_answers_of_a_pilot_keep_their_place(tmp_path, images, make_config):
    images.add("a.png")
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({"qid": row["id"], "question": "What?", "answer": "x"}) + "\n" for row in ROWS))
    layout = Layout(str(tmp_path / "output"), "tiny")

    def items(**qa):
        plan = plan_task(make_config({"qa": {"question_path": str(path), "chunks": 4, **qa}}), layout, "qa")
        rows = {row["id"] for row in read_json_lines(layout.question_rows(plan.rows))}
        lists = plan.item_lists(layout, "qa")
        found = {entry["id"]: name for name, items in enumerate(lists) for entry in read_json_lines(items)}
        assert rows == set(found)
        return found

    pilot = items(limit=40)
    assert len(pilot) == 40
    assert "40 of 1,000 questions are asked" in load_plan(layout, "qa").notes[0]
    assert items().items() >= pilot.items()
    assert set(items(limit=0.5)) >= set(pilot)


@pytest.mark.parametrize(
    "qa", [{"limit": 0}, {"limit": 1.5}, {"limit": -2}, {"where": {"kind": "x"}}, {"where": {"type": "x"}}]
)
def test_a_limit_or_a_choice_that_is_none_is_refused(raw_config, schema, qa):
    with pytest.raises(ConfigError, match=r"qa\.(limit|where)"):
        check(raw_config({"qa": qa}), schema)
