"""A judge: what is read of its words, which answers it gets, and what its files say beside those of the rules."""

import copy
import re
from pathlib import Path

import pandas as pd
import pytest
from captionqa.client.chunk_result import FORMAT, write_chunk
from captionqa.client.pending_requests import count_requests, needs_server
from captionqa.config.check import check
from captionqa.config.config import Config
from captionqa.config.judge_config import PROMPT, judge_text
from captionqa.config.layout import Layout
from captionqa.config.settings import fingerprint, judge_settings
from captionqa.dataset.final_files import final_files, items_to_do
from captionqa.dataset.planning import plan_task
from captionqa.errors import ConfigError, ResultError, TooManyFailuresError
from captionqa.files import read_json, read_json_lines, write_json
from captionqa.grading.judge_grade import judge_grade
from captionqa.grading.scoring import GradingRules
from captionqa.results.agreement import Agreement
from captionqa.results.failures import check_failures
from captionqa.results.judge_items import is_to_judge, write_judge_items
from captionqa.results.judged import JudgedPaths, merge_judged
from captionqa.results.provenance import file_digest
from captionqa.results.qa_record import qa_record
from captionqa.results.repeated_question import repeated_record
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

SERVER = {"url": "http://node:8000", "generation": 1, "vllm": "1.2"}
CRITIC = {"path": "org/critic"}
JUDGED = {"models": {"critic": CRITIC}, "qa": {"judge": {"model": "critic", "when": "always"}}}
#: (qid, question, ground truth, what the model says); the rules read B, nothing, 12, nothing.
ANSWERS = [
    ("letter", "Which?\nA. red\nB. blue", "A", "The answer is B."),
    ("other words", "Which?\nA. red\nB. blue", "A", "It has the colour of blood."),
    ("number", "How many?", "12", "The answer is 12."),
    ("value", "Where?", "Paris", "<think>hm</think>In the French capital."),
]


@pytest.mark.parametrize(
    ("output", "grade"),
    [
        ("Grade: correct", "correct"),
        ("Both say 12.\n**Grade: incorrect**", "incorrect"),
        ("CORRECT.", "correct"),
        ("The answer differs.\nIncorrect", "incorrect"),
        ("<think>Grade: incorrect? No.</think>\nGrade: correct", "correct"),
        ("Grade: correct\nThat is all.", "correct"),
        ("final grade = [Correct]", "correct"),
        ("", None),
        ("The answer is A.", None),
        ("not correct", None),
        ("Grade: partially correct", None),
        ("Grade: correct or incorrect", None),
        ("correct\nincorrect?", None),
        ("Grade: correct\nGrade: incorrect", None),
        ("Grade: unsure\ncorrect", None),
        ("I would write\nGrade: correct\nif it said so. It does not:\n**incorrect**", None),
        ("It is correct that this is incorrect.", None),
        ("<think>Grade: correct", None),
    ],
)
def test_a_grade_is_one_of_two_words_and_never_a_guess(output, grade):
    assert judge_grade(output) == grade


def test_kappa_is_cohens_as_computed_by_hand():
    agreement = Agreement()
    for rules, judge, count in ((True, True, 20), (True, False, 5), (False, True, 10), (False, False, 15)):
        for _ in range(count):
            agreement.add(rules, judge)
    # observed 35/50; by chance (25 * 30 + 25 * 20) / 2500 = 0.5
    assert agreement.metrics() == {
        "n": 50,
        "both_correct": 20,
        "only_rules": 5,
        "only_judge": 10,
        "both_incorrect": 15,
        "agreement": 0.7,
        "cohens_kappa": pytest.approx(0.4),
    }
    assert Agreement().metrics()["cohens_kappa"] is None
    assert Agreement(both_correct=3).kappa() is None
    assert Agreement(only_rules=3).kappa() == 0


@given(st.tuples(*[st.integers(0, 50)] * 4))
def test_kappa_is_that_of_statsmodels(counts):
    kappa = Agreement(*counts).kappa()
    if kappa is not None:
        both, only_rules, only_judge, neither = counts
        found = cohens_kappa([[both, only_rules], [only_judge, neither]], return_results=False)
        assert kappa == pytest.approx(found)


def answer(text, **changes):
    tokens = {"prompt_tokens": 10, "completion_tokens": 5}
    return {"text": text, "finish_reason": "stop", **tokens, "server": SERVER} | changes


def record(question, truth, output, **changes):
    row = {"id": "q", "question": question, "answer": truth, "images": [], "category": "c", "source": "s"}
    return qa_record(row, {"id": "q", "answer": answer(output, **changes), "files": []}, GradingRules())


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        ("unparsed", ["other words", "value"]),
        ("freeform", ["number", "value"]),
        ("always", ["letter", "other words", "number", "value"]),
    ],
)
def test_the_rules_decide_which_answers_are_judged(when, wanted):
    records = {qid: record(question, truth, output) for qid, question, truth, output in ANSWERS}
    assert [qid for qid, one in records.items() if is_to_judge(one, when)] == wanted
    # no ground truth to compare with, and no final words to judge
    assert not is_to_judge(record("Where?", None, "Here."), when)
    assert not is_to_judge(record("Where?", "Paris", "<think>In Par", finish_reason="length"), when)


def test_answers_that_are_even_or_differ_by_the_order_of_choices_are_not_judged():
    row = {"id": "q", "question": "Which?\nA. red\nB. blue", "answer": "A", "images": [], "category": "c"}
    row |= {"source": "s", "repeats": {"orders": [[0, 1], [1, 0]], "samples": 1}}
    lines = [{"id": name, "answer": answer("The answer is A."), "files": []} for name in ("q", "q\0round 2 sample 1")]
    tie = repeated_record(row, lines, GradingRules(), {})
    assert tie["graded_by"] == "tie"
    circular = repeated_record(row | {"repeats": {**row["repeats"], "circular": True}}, lines, GradingRules(), {})
    assert circular["graded_by"] == "circular"
    assert not any(is_to_judge(one, when) for one in (tie, circular) for when in ("unparsed", "always"))


def test_the_text_has_each_field_once_and_no_field_within_a_field():
    fields = {"question": "{answer}?", "choices": "A. {x}", "ground_truth": "{question}", "answer": "{choices}"}
    assert judge_text("{question} {choices} {ground_truth} {answer} {other}", fields) == (
        "{answer}? A. {x} {question} {choices} {other}"
    )
    assert all(f"{{{name}}}" in PROMPT for name in ("question", "ground_truth", "answer"))
    assert [judge_grade(word) for word in ("Grade: correct", "Grade: incorrect")] == ["correct", "incorrect"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"qa": {"judge": {"model": "critc"}}}, "'critc' is none of models"),
        ({"qa": {"judge": {"model": "tiny"}}}, "would grade its own answers; name another model"),
        (
            {"models": {"critic": {"path": "org/tiny"}}, "qa": {"judge": {"model": "critic"}}},
            "would grade its own answers, since models.tiny.path is the same",
        ),
        (
            {
                "models": {"critic": CRITIC},
                "qa": {"contexts": ["caption"], "reader": "critic", "judge": {"model": "critic"}},
            },
            "would grade its own answers",
        ),
        (
            {
                "models": {"critic": CRITIC},
                "qa": {"contexts": ["caption"], "reader": "critic", "judge": {"model": "tiny"}},
            },
            "no model is left that captions",
        ),
        (
            {
                "models": {"critic": CRITIC},
                "qa": {
                    "contexts": ["image", "caption"],
                    "reader": "critic",
                    "judge": {"model": "tiny", "allow_self": True},
                },
            },
            "servers: side_by_side",
        ),
        (
            {
                "models": {
                    "tiny": {"url": "http://node:8000/v1/"},
                    "critic": {"path": "other", "url": "http://node:8000", "served_model_name": "org/tiny"},
                },
                "qa": {"judge": {"model": "critic"}},
            },
            "would grade its own answers, since models.tiny asks the same server for the same model",
        ),
        ({"qa": {"judge": {"model": "tiny", "prompt": "{answer}?"}}}, "{answer} and {ground_truth}"),
        (
            {"qa": {"judge": {"model": "tiny", "prompt": "{choice} {ground_truth} {answer}"}}},
            "qa.judge.prompt: nothing would be put in place of {choice} (did you mean 'choices'?)",
        ),
        ({"qa": {"judge": {"when": "always"}}}, "the key 'model' is missing"),
        ({"qa": {"judge": {"model": "tiny", "when": "never"}}}, "unparsed, freeform or always"),
        (
            {
                "models": {"critic": CRITIC},
                "captions": {"prompt_styles": ["x", "x_judge"], "prompts": {"x": "?", "x_judge": "!"}},
                "qa": {"contexts": ["caption"], "judge": {"model": "critic"}},
            },
            "would be in the files of",
        ),
    ],
)
def test_a_judge_of_its_own_answers_or_of_none_is_refused(make_config, changes, said):
    with pytest.raises(ConfigError, match=r"qa\.judge") as error:
        make_config(changes)
    assert said in str(error.value)


def test_a_judge_does_nothing_else_unless_it_may_judge_itself(make_config):
    config = make_config(JUDGED)
    assert (config.captioners, config.model_names, config.judge_alone) == (["tiny"], ["tiny", "critic"], "critic")
    assert (config.tasks_of("critic"), config.server_tasks("critic")) == ([], ["judge"])
    assert [model for model, _ in config.answers] == ["tiny"]

    itself = {"judge": {"model": "tiny", "allow_self": True}}
    config = make_config({"models": {"critic": CRITIC}, "qa": itself})
    assert (config.model_names, config.judge_alone) == (["critic", "tiny"], None)
    assert config.server_tasks("tiny") == ["captions", "qa", "judge"]
    assert make_config({"qa": itself}).server_tasks("tiny") == ["captions", "qa", "judge"]

    # a second entry of the same model, such as with other sampling, is a judge alone
    again = {"models": {"critic": {"path": "org/tiny"}}, "qa": {"judge": {"model": "critic", "allow_self": True}}}
    assert make_config(again).judge_alone == "critic"
    # but not where that one reads: then nobody would caption
    reads = {"contexts": ["caption"], "reader": "critic", "judge": {"model": "tiny", "allow_self": True}}
    config = make_config(again | {"servers": "side_by_side", "qa": reads})
    assert (config.captioners, config.judge_alone) == (["tiny"], None)
    assert make_config().judge is None


def test_a_run_has_one_judge_for_the_data_sets_that_name_it(raw_config, schema):
    raw = raw_config({"models": {"critic": CRITIC}})
    del raw["captions"]
    qa = raw.pop("qa")

    def named(**judges):
        sections = {name: qa | ({} if judge is None else {"judge": judge}) for name, judge in judges.items()}
        return check(copy.deepcopy(raw | {"qa": sections}), schema)

    config = named(one={"model": "critic"}, two=None)
    assert (config.judge_alone, config.model_names) == ("critic", ["tiny", "critic"])
    one, two = config.data_sets["one"], config.data_sets["two"]
    assert (one.server_tasks("critic"), two.server_tasks("critic")) == (["judge"], [])
    assert [model for model, _ in two.answers] == ["tiny"]
    assert named(one={"model": "critic"}, two={"model": "critic", "when": "always"}).any_judge.model == "critic"
    with pytest.raises(ConfigError, match=r"qa\.two\.judge: 'tiny' would be a second judge"):
        named(one={"model": "critic"}, two={"model": "tiny"})


class Judged:
    """Questions that are planned, answered and graded, and what a judge makes of them."""

    def __init__(self, config: Config, rows):
        self.config = config
        self.layout = Layout(config.output_dir, "critic", "tiny")
        frame = pd.DataFrame([row[:3] for row in rows], columns=["qid", "question", "answer"])
        frame.assign(image=[[] for _ in rows]).to_parquet(config.qa.question_path)
        Path(config.qa.dataset_path).mkdir(exist_ok=True)
        plan_task(config, self.layout, "qa")
        (self.file,) = final_files(config, self.layout, "judge")
        self.answers = self.file.judged
        self.grade(rows)

    def grade(self, rows):
        """Write what the merge of the answers writes."""
        records = {qid: record(question, truth, output) | {"qid": qid} for qid, question, truth, output in rows}
        write_json(self.answers.path("results"), dict(sorted(records.items())))
        correct = sum(bool(one["is_correct"]) for one in records.values())
        totals = {"model": "tiny", "total_questions": len(rows), "ungraded_questions": 0, "correct_answers": correct}
        write_json(self.answers.path("metrics"), totals)
        for path in self.answers.answer_results():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()

    def list_items(self):
        """{qid: item of the judge}."""
        rows = self.layout.question_rows(self.answers.plan().rows)
        write_judge_items(self.answers, self.answers.path("results"), rows, self.answers.index)
        lists = [f"{self.answers.lists}/{name}" for name in self.answers.list_names()]
        assert lists == self.file.item_lists(self.layout)
        return {entry["id"]: entry for path in lists for entry in read_json_lines(path)}

    def merge(self, outputs):
        """Merge what the judge says, as {qid: text, or a whole answer}; None is a failure."""
        settings = judge_settings(self.config)
        for path, items in zip(
            self.file.results(self.config, self.layout), self.file.item_lists(self.layout), strict=True
        ):
            lines = [
                self.line(entry["id"], outputs[entry["id"]])
                for entry in read_json_lines(items)
                if entry["id"] in outputs
            ]
            header = {"format": FORMAT, "chunk": "0-of-4", "fingerprint": fingerprint(settings), "settings": settings}
            header |= {"items": len(lines), "asked": 0, "shared": 0, "known": 0, "failed": 0, "concurrency": 1}
            header |= {"started": 1.0, "finished": 2.0, "client": {"host": "h", "job": None}, "servers": []}
            write_chunk(path, header, sorted(lines, key=lambda line: line["id"]))
        paths = {kind: self.answers.path(f"judge_{kind}") for kind in ("metrics", "failures", "provenance")}
        to = JudgedPaths(judged=self.answers.path("judged"), **paths)
        merge_judged(self.answers, self.file.results(self.config, self.layout), settings, to)
        return read_json(to["metrics"])

    @staticmethod
    def line(qid, output):
        if output is None:
            return {"id": qid, "failure": "timeout", "detail": "no answer in 5 s"}
        return {"id": qid, "answer": output if isinstance(output, dict) else answer(output), "files": []}


@pytest.fixture
def judged(make_config):
    return lambda changes=JUDGED, rows=ANSWERS: Judged(make_config(changes), rows)


def test_the_judge_is_told_the_question_its_truth_and_the_final_words(judged):
    found = judged().list_items()
    assert {qid: entry["judged"] for qid, entry in found.items()} == {
        "letter": {"choices": "A. red\nB. blue", "ground_truth": "A. red", "answer": "The answer is B."},
        "other words": {
            "choices": "A. red\nB. blue",
            "ground_truth": "A. red",
            "answer": "It has the colour of blood.",
        },
        "number": {"choices": "", "ground_truth": "12", "answer": "The answer is 12."},
        "value": {"choices": "", "ground_truth": "Paris", "answer": "In the French capital."},
    }
    assert found["number"]["question"] == "How many?"


def test_lists_that_are_gone_or_emptied_or_have_no_index_are_written_again(judged):
    project = judged()

    def is_dropped(damage, path):
        project.list_items()
        project.answers.drop_damaged_lists()
        assert index.exists()
        damage(path)
        project.answers.drop_damaged_lists()
        return not index.exists()

    project.list_items()
    index = Path(project.answers.index)
    full = next(path for path in map(Path, project.file.item_lists(project.layout)) if path.stat().st_size)
    assert is_dropped(Path.unlink, full)
    assert is_dropped(lambda path: path.write_text(""), full)
    for text in ("", "[]", "{}", '{"items": [], "code": "", "without_words": 0}'):
        assert is_dropped(lambda path, text=text: path.write_text(text), index)


def test_answers_are_not_listed_by_another_plan_than_the_runs(judged):
    project = judged()
    rows = project.layout.question_rows(project.answers.plan().rows)
    with pytest.raises(ResultError, match="planned anew since this run began; run the same command again"):
        write_judge_items(project.answers, project.answers.path("results"), rows, f"{project.answers.lists}/0a.json")


def test_damaged_results_are_named(judged):
    project = judged()
    results = Path(project.answers.path("results"))
    results.write_text(results.read_text()[:-9])
    with pytest.raises(ResultError, match=f"^{re.escape(str(results))} is no file of results .* delete it and run"):
        project.list_items()


def test_of_several_ground_truths_the_judge_is_told_each_once(judged):
    project = judged(rows=[("many", "What is it?", ["a cab", "a taxi", "a cab"], "It carries people for money.")])
    assert project.list_items()["many"]["judged"]["ground_truth"] == "a cab | a taxi"
    assert "Several ground\ntruths have | between them" in PROMPT


def test_the_grades_stand_beside_those_of_the_rules(judged):
    project = judged()
    project.list_items()
    before = Path(project.answers.path("results")).read_bytes()
    cut = answer("Grade: correct", finish_reason="length")
    metrics = project.merge({"letter": "Grade: incorrect", "other words": "correct", "number": cut, "value": None})
    assert Path(project.answers.path("results")).read_bytes() == before
    assert metrics["rules"]["accuracy"] == 1 / 4
    counts = metrics["by_judge"]
    assert {key: counts[key] for key in ("items", "judged", "correct", "incorrect", "unscored", "failed")} == {
        "items": 4,
        "judged": 2,
        "correct": 1,
        "incorrect": 1,
        "unscored": 1,
        "failed": 1,
    }
    assert (counts["accuracy"], counts["total"]) == (1 / 2, 2)
    # only what the rules could not read is the judge's
    assert (metrics["combined"]["correct"], metrics["combined"]["total"]) == (2, 4)
    assert metrics["combined"]["graded_by_judge"] == 1
    assert metrics["agreement"]["n"] == 1
    assert len(metrics["notes"]) == 2
    records = read_json(project.answers.path("judged"))
    assert set(records) == {"letter", "other words", "number"}
    assert records["other words"]["judge"] == {"grade": "correct", "output": "correct", "truncated": False}
    assert records["other words"]["rules"]["is_correct"] is False
    assert read_json(project.answers.path("judge_failures")) == {
        "value": {"reason": "timeout", "detail": "no answer in 5 s"}
    }
    provenance = read_json(project.answers.path("judge_provenance"))
    assert provenance["counts"]["items"] == 4
    results = project.answers.path("results")
    with open(results, "rb") as file:
        of_results = {"results": results, "fingerprint": file_digest(file)}
    assert provenance["judged"] == {**of_results, "model": "tiny", "when": "always"}
    with pytest.raises(TooManyFailuresError, match="1 of 4 answers to judge by critic failed"):
        check_failures(project.answers.path("judge_failures"), project.answers.path("judge_provenance"), 0.05)


def test_nothing_to_judge_is_no_failure(judged):
    project = judged({**JUDGED, "qa": {"judge": {"model": "critic"}}}, ANSWERS[:1])
    assert project.list_items() == {}
    metrics = project.merge({})
    assert metrics["by_judge"]["items"] == 0
    assert metrics["by_judge"]["accuracy"] is None
    assert "No answer had to be judged" in metrics["notes"][0]
    check_failures(project.answers.path("judge_failures"), project.answers.path("judge_provenance"), 0.05)


def test_results_of_other_answers_are_refused(judged):
    project = judged()
    project.list_items()
    with pytest.raises(ResultError, match="are not about the answers"):
        project.merge({"letter": "correct"})
    project = judged({**JUDGED, "qa": {"judge": {"model": "critic"}}})
    assert project.list_items().keys() == {"other words", "value"}
    project.grade([(*ANSWERS[0][:3], "That one."), (*ANSWERS[1][:3], "The answer is B."), *ANSWERS[2:]])
    with pytest.raises(ResultError, match="are not about the answers"):
        project.merge({"other words": "correct", "value": "correct"})


def test_what_is_to_judge_is_known_once_the_lists_are_there(judged, monkeypatch):
    project = judged({**JUDGED, "qa": {"judge": {"model": "critic"}}})
    config, layout = project.config, project.layout
    results = project.file.results(config, layout)
    assert items_to_do(config, Layout(config.output_dir, "tiny"))["judge"] == 4
    counts = count_requests(config, layout, results)["judge"]
    assert (counts.requests, counts.at_most) == (4, True)
    project.list_items()
    counts = count_requests(config, layout, results)["judge"]
    assert (counts.items, counts.requests, counts.at_most) == (2, 2, False)
    assert items_to_do(config, Layout(config.output_dir, "tiny"))["judge"] == 2
    assert needs_server(config, layout, results)
    # a chunk of answers that has to be asked again, or other code, may change it
    monkeypatch.setattr("captionqa.dataset.judged_answers.code_digest", lambda: "other")
    assert count_requests(config, layout, results)["judge"].at_most
    monkeypatch.undo()
    for path in project.answers.answer_results():
        Path(path).unlink()
    assert count_requests(config, layout, results)["judge"].requests == 4


def test_what_decides_the_judged_answers_is_in_the_names(judged, make_config):
    project = judged()
    first = project.file.results(project.config, project.layout)

    def names(**changes):
        config = make_config({**JUDGED, "qa": {"judge": {"model": "critic", "when": "always"}, **changes}})
        (file,) = final_files(config, project.layout, "judge")
        return file.results(config, project.layout)

    assert names() == first
    assert set(names(max_tokens=99)).isdisjoint(first)
    assert set(names(relative_tolerance=0.1)).isdisjoint(first)
    assert set(names(judge={"model": "critic", "when": "unparsed"})).isdisjoint(first)
    assert set(names(judge={"model": "critic", "when": "always", "max_tokens": 9})).isdisjoint(first)
    assert names(judge={"model": "critic", "when": "always", "decides": True}) == first
