"""A judge, from start to end: what it is asked, when its server starts, and that the rules' grades stay as they are."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from projects import AS_ANYBODY, MODEL, job_counts, stand_in_server

pytestmark = pytest.mark.slow

JUDGE = "judge"
KINDS = ("results", "metrics", "failures", "flips", "provenance")
#: {qid: (question, ground truth, what the model says)}; the rules read a letter of q0 and q1, nothing of the others.
QUESTIONS = {
    "q0": ("Zero?\nA. this\nB. that", "A", "The answer is A."),
    "q1": ("One?\nA. this\nB. that", "B", "The answer is A."),
    "q2": ("Two?\nA. this\nB. that", "A", "It seems to me the first."),
    "q3": ("Three?", "Paris", "In the French capital, I think."),
}
UNPARSED = {"q2", "q3"}


class Judge:
    """The judge of a project: its requests and its words."""

    def __init__(self, project):
        self.project = project
        self._requests = project.folder / "judge.jsonl"
        self._faults = project.folder / "judge_faults.json"
        (project.folder / "critic").mkdir()
        pd.DataFrame(
            {
                "qid": list(QUESTIONS),
                "question": [question for question, _, _ in QUESTIONS.values()],
                "answer": [truth for _, truth, _ in QUESTIONS.values()],
                "image": [["a/1.png"], ["a/3.png"], ["b/0.png"], ["b/2.png"]],
            }
        ).to_parquet(project.folder / "questions.parquet")
        says = {f"<image>{question}": output for question, _, output in QUESTIONS.values()}
        (project.folder / "answers.json").write_text(json.dumps(says))
        server = project.config["models"][MODEL]["server"]
        server["env"]["STAND_IN_ANSWERS"] = str(project.folder / "answers.json")
        self.says({"q2": "The first is A.\nGrade: correct", "q3": "Grade: incorrect", "q0": "Grade: correct"})
        self.server = stand_in_server(project.folder)
        self.server["env"] |= {
            "STAND_IN_REQUESTS": str(self._requests),
            "STAND_IN_FAULTS": str(self._faults),
            "STAND_IN_ANSWERS": str(project.folder / "judge_answers.json"),
        }
        del project.config["captions"]

    def join(self, **changes):
        model = {"path": "critic", "served_model_name": JUDGE, "server": self.server}
        self.project.config["models"][JUDGE] = model
        prompt = "{question} / {ground_truth} / {answer}"
        self.project.config["qa"]["judge"] = {"model": JUDGE, "prompt": prompt, **changes}

    def says(self, grades, prompt="{} / {} / {}"):
        """Have it say this of answers, by their qids."""
        truths = {qid: "A. this" if truth == "A" else truth for qid, (_, truth, _) in QUESTIONS.items()}
        texts = {qid: prompt.format(QUESTIONS[qid][0], truths[qid], QUESTIONS[qid][2]) for qid in grades}
        says = {texts[qid]: output for qid, output in grades.items()}
        (self.project.folder / "judge_answers.json").write_text(json.dumps(says))

    def faults(self, **faults):
        self._faults.write_text(json.dumps(faults))

    def asked(self):
        """The qids of what it was asked, sorted; they are forgotten."""
        if not self._requests.exists():
            return []
        texts = [json.loads(line)["text"] for line in self._requests.read_text().splitlines()]
        self._requests.unlink()
        return sorted(qid for text in texts for qid, (question, _, _) in QUESTIONS.items() if question in text)

    def of_rules(self):
        """The bytes of the files of the rules' grades."""
        folder = self.project.out / "qa" / MODEL
        return {kind: (folder / f"{MODEL}_qa_{kind}.json").read_bytes() for kind in KINDS}


@pytest.fixture
def judge(project):
    return Judge(project)


def test_a_judge_that_joins_a_finished_run_asks_what_the_rules_could_not_read_and_changes_none_of_their_files(
    project, judge
):
    project.run()
    rules = judge.of_rules()
    project.forget_requests()
    judge.join()
    text = project.run("-n")
    assert f"up to 4 answers to judge by {JUDGE}, 1 server to start" in text
    plan = job_counts(text)
    assert (plan["judge_items"], plan["judge_chunk"], plan["merge_judge"]) == (1, 2, 1)
    assert not plan.keys() & {"answer_chunk", "merge_qa"}
    text = project.run()
    assert project.requests() == []
    assert judge.asked() == sorted(UNPARSED)
    assert f"judged by {JUDGE}: 50.0% of 2 correct" in text
    assert project.qa("judged")["q2"]["judge"]["grade"] == "correct"
    metrics = project.qa("judge_metrics")
    assert (metrics["rules"]["correct"], metrics["combined"]["correct"], metrics["combined"]["total"]) == (1, 2, 4)
    assert project.qa("judge_provenance")["settings"]["model"] == JUDGE
    assert judge.of_rules() == rules
    assert project.plan() == {}
    assert f"{JUDGE}: judge qa of {MODEL}" in project.captionqa("status")
    project.captionqa("estimate")

    # what it said stays in its journal: only what is new is asked
    judge.join(when="always")
    project.run()
    assert judge.asked() == ["q0", "q1"]
    agreement = project.qa("judge_metrics")["agreement"]
    assert (agreement["n"], agreement["both_correct"]) == (1, 1)  # of q1 its words are no grade
    assert project.qa("judge_metrics")["by_judge"]["unscored"] == 1

    # another prompt asks the judge alone, and which answers it gets is known
    judge.join(when="always", prompt="{ground_truth} / {answer} / {question}", decides=True)
    judge.says({"q2": "correct", "q3": "correct"}, prompt="{1} / {2} / {0}")
    shutil.rmtree(project.folder / ".snakemake")  # as where a run starts from another folder
    assert f": 4 answers to judge by {JUDGE}, 1 server to start" in project.run("-n")
    text = project.run()
    assert judge.asked() == ["q0", "q1", "q2", "q3"]
    shown = text.index("accuracy with the judge 75.0% (3 of 4;")
    assert shown < text.index("accuracy 25.0% (1 of 4;")

    # forgotten, it is asked again; a result that is gone is made anew without a request
    project.captionqa("forget", "--task", "judge")
    project.run()
    assert judge.asked() == ["q0", "q1", "q2", "q3"]
    chunks = project.out / "work" / JUDGE / "judge" / MODEL / "qa" / "chunks"
    for path in chunks.iterdir():
        path.unlink()
    (project.out / "qa" / MODEL / f"{MODEL}_qa_judged.json").unlink()
    assert "no request is left to send, so no server starts" in project.run()
    assert judge.asked() == []
    assert judge.of_rules() == rules
    assert project.requests() == []

    # of answers that were asked for again those that changed are judged again
    answers = project.folder / "answers.json"
    answers.write_text(answers.read_text().replace("French", "British"))
    project.captionqa("forget", "--task", "qa")
    project.run()
    assert judge.asked() == ["q3"]
    assert "British" in project.qa("judged")["q3"]["model_output"]
    assert project.plan() == {}

    # lists that are gone from a folder of somebody else
    lists = project.out / "work" / JUDGE / "judge" / MODEL / "qa" / "items"
    for path in lists.glob("*.jsonl"):
        path.unlink()
    lists.chmod(0o555)
    project.prefix = AS_ANYBODY
    assert f"captionqa: {lists.relative_to(project.folder)}/" in project.run("-n", check=False)


def test_a_judge_that_talks_nonsense_says_nothing_or_dies_changes_no_grade_and_is_named(project, judge):
    judge.says({})
    judge.join(when="always")
    text = project.run()
    assert f"judged by {JUDGE}: no answer got a grade; 4 unscored, since its words are no grade" in text
    metrics = project.qa("judge_metrics")
    assert (metrics["by_judge"]["unscored"], metrics["combined"]["correct"]) == (4, metrics["rules"]["correct"])
    assert "4 of 4 answers are not scored" in metrics["notes"][0]
    rules, page = judge.of_rules(), project.out / "report" / "index.html"
    assert json.loads(rules["metrics"])["correct_answers"] == 1
    assert page.exists()
    judge.asked()
    project.forget_requests()

    project.captionqa("forget", "--task", "judge")
    judge.faults(fault="empty")
    text = project.run(check=False)
    assert f"4 of 4 answers to judge by {JUDGE} failed" in text
    assert {failure["reason"] for failure in project.qa("judge_failures").values()} == {"empty_output"}
    assert "4 of 4 answers are not judged" in project.qa("judge_metrics")["notes"][0]
    assert judge.of_rules() == rules
    assert project.requests() == []


@pytest.mark.parametrize("dies", ["before", "while it is asked"])
def test_the_grades_are_there_whatever_befalls_the_judges_server(project, judge, dies):
    judge.join(when="always")
    project.config["qa"]["contexts"] = ["image", "none"]
    project.config["client"]["max_failed_fraction"] = 1
    project.config["export"] = {"qa": ["jsonl"]}
    if dies == "before":
        judge.server["env"]["STAND_IN_FAIL_START"] = "no weights here"
        awaited = project.plan("--until", str(Path(project.out.name, "work", JUDGE, "server", "ready.json")))
        assert {"merge_qa", "compare_contexts", "export_answers"} <= awaited.keys()
    else:
        judge.faults(fault="die")
    text = project.run(check=False)
    assert JUDGE in text
    assert "failed after" in text
    assert (project.out / "comparison.json").exists()
    page = project.out / "report" / "data" / "overview.js"
    assert "unfinished" not in page.read_text()
    exported = project.out.glob(f"export/qa/{MODEL}/{MODEL}_qa*_jsonl/answers-00000.jsonl")
    assert [len(path.read_text().splitlines()) for path in exported] == [len(QUESTIONS)] * 2
    assert project.qa("metrics")["correct_answers"] == 1
    assert project.qa("none_results").keys() == QUESTIONS.keys()
    assert not (project.out / "qa" / MODEL / f"{MODEL}_qa_judged.json").exists()
    rules = judge.of_rules()
    project.forget_requests()
    judge.asked()
    judge.server["env"].pop("STAND_IN_FAIL_START", None)
    judge.faults()
    project.run()
    assert project.requests() == []
    assert judge.asked()
    # what was in flight at two crashes is set aside
    assert project.qa("judged").keys() | project.qa("judge_failures").keys() == QUESTIONS.keys()
    assert "cohens_kappa" in page.read_text()
    assert judge.of_rules() == rules
    assert project.plan() == {}


def test_of_two_data_sets_the_one_that_names_the_judge_is_judged(project, judge):
    judge.join()
    qa = project.config.pop("qa")
    without = {key: value for key, value in qa.items() if key != "judge"}
    project.config["qa"] = {"judged": qa, "plain": without}
    text = project.run()
    assert text.count("the server is starting") == 2
    assert judge.asked() == sorted(UNPARSED)
    files = {path.relative_to(project.out).parts[0] for path in project.out.glob("*/qa/*/*_judged.json")}
    assert files == {"judged"}
    overview = (project.out / "report" / "data" / "overview.js").read_text()
    assert "cohens_kappa" in overview
    assert project.plan() == {}


def test_a_model_may_judge_itself_where_that_is_said_twice_and_a_reader_is_judged_too(project, judge):
    judge.says({"q2": "Grade: correct", "q3": "Grade: correct"})
    judge.join(allow_self=True)
    reader = project.config["models"].pop(JUDGE)
    project.config["models"]["reader"] = reader
    project.config["captions"] = {"prompt_styles": ["SHORT"]}
    project.config["qa"] |= {"contexts": ["image", "caption"], "reader": "reader"}
    project.config["qa"]["judge"] |= {"model": "reader"}
    project.config["client"]["max_failed_fraction"] = 1
    assert "Exception" not in project.run()
    reads = project.out / "qa" / "reader"
    assert (reads / f"reader_with_{MODEL}_short_judged.json").exists()
    assert project.qa("judged").keys() == UNPARSED
    assert project.plan() == {}
