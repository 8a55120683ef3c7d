"""The end of a run of many models and data sets: every accuracy in one table, and one row for each data set."""

import json
from pathlib import Path

import pandas as pd
import pytest
from captionqa.config.check import check
from captionqa.driver.summary import result_rows
from captionqa.files import write_json
from finished_run import finish_run, judge_run

#: {work folder: the letter that is said there}.
SAID = {"qa": "A", "qa_none": "B", "qa_gray": "A"}
SETS = {"birds": 4, "cars": 7, "boats": 2}


def answer(work, entry):
    """Of the boats nothing can be read and all is cut; the first bird has no answer with its image."""
    if "boats" in entry["question"]:
        return ("Hm.", "length")
    if (work, entry["id"], "birds" in entry["question"]) == ("qa", "q0", True):
        return {"failure": "timeout", "detail": "no answer in 5 s"}
    return f"The answer is {SAID[work]}."


@pytest.fixture
def raw(raw_config, images, tmp_path):
    """Two models on three data sets in three contexts; a fourth has captions alone."""
    images.add("a.png", "b.png")
    for name, count in SETS.items():
        rows = {"qid": [f"q{n}" for n in range(count)], "question": [f"Which {name}?\nA. red\nB. blue"] * count}
        pd.DataFrame(rows | {"answer": "A", "image": [["a.png"]] * count}).to_parquet(tmp_path / f"{name}.parquet")
    raw = raw_config({"captions": None})
    raw["models"] = dict.fromkeys(("tiny", "other"), raw["models"]["tiny"])
    qa = {"dataset_path": str(images.path), "contexts": ["image", "none", "gray"]}
    raw["qa"] = {name: {"question_path": str(tmp_path / f"{name}.parquet"), **qa} for name in SETS}
    raw["captions"] = {"photos": {"dataset_path": str(images.path)}}
    return raw


def finish(config):
    return finish_run(config, lambda work, entry: answer(work, entry) if "question" in entry else "A cat.")


def test_a_grid_ends_with_a_table_of_accuracies_and_a_row_for_each_data_set(raw, schema):
    config = check(raw, schema)
    layout = finish(config)
    out = layout.output_dir
    rows = result_rows(config, layout)
    lists = [f"{out}/birds/qa/{model}/{model}_qa_failures.json" for model in ("tiny", "other")]
    assert rows == [
        "  accuracy in % (failed is wrong)  birds   cars  boats",
        "  tiny, image                       75.0  100.0    0.0",
        "  other, image                      75.0  100.0    0.0",
        "  tiny, none                         0.0    0.0    0.0",
        "  other, none                        0.0    0.0    0.0",
        "  tiny, gray                       100.0  100.0    0.0",
        "  other, gray                      100.0  100.0    0.0",
        f"  with intervals and differences, over the answered questions: {out}/comparison.md",
        f"  photos: 4 captions  {out}/photos/",
        f"  birds: 22 answers  {out}/birds/",
        f"  cars: 42 answers  {out}/cars/",
        f"  boats: 12 answers, 12 unparsed (what has no letter or value is wrong), 12 truncated  {out}/boats/",
        "    100% of the answers were cut: raise qa.boats.max_tokens (all questions are asked again)",
        f"        2 failed: 2 timeout  {', '.join(lists)}",
    ]


def test_regraded_answers_exports_and_a_judge_are_summed_up(raw, schema):
    raw["export"] = {"qa": ["jsonl"]}
    raw["models"]["critic"] = {**raw["models"]["tiny"], "path": "org/critic"}
    raw["qa"]["boats"]["judge"] = {"model": "critic", "decides": True}
    config = check(raw, schema)
    layout = finish(config)
    judge_run(config, lambda entry: f"Grade: {'correct' if entry['id'] == 'q0' else 'incorrect'}")
    cars = layout.of_data_set("cars")
    flip = {"before": {"is_correct": False}, "now": {"is_correct": True}}
    for of_model in cars.of_models(["tiny", "other"]):
        write_json(of_model.qa("flips"), {"q1": flip})
        write_json(Path(layout.export_summary(of_model.answer_export("jsonl", ""))), {"items": 7, "format": "jsonl"})
    only = layout.of_data_set("boats").answer_export("jsonl", "")
    write_json(Path(layout.export_summary(only)), {"items": 2, "format": "jsonl"})
    rows = result_rows(config, layout)
    assert rows[0] == "  accuracy in %, with the judge on boats  birds   cars  boats"
    assert rows[1].split() == ["tiny,", "image", "75.0", "100.0", "50.0"]
    assert f"  cars: 42 answers, 2 jsonl exports  {layout.output_dir}/cars/" in rows
    assert "    regraded: 2 of 42 answers flipped (2 now right)" in rows
    boats = next(row for row in rows if row.startswith("  boats: "))
    assert "critic called 6 of 12 answers correct, 1 jsonl export  " in boats
    del raw["qa"]["boats"]["judge"], raw["models"]["critic"]
    rows = result_rows(check(raw, schema), layout)
    assert rows[0] == "  accuracy in % (failed is wrong)  birds   cars  boats"
    assert rows[1].split() == ["tiny,", "image", "75.0", "100.0", "0.0"]


def test_a_data_set_without_ground_truths_has_no_accuracy_and_many_lists_are_counted(raw, schema, tmp_path):
    frame = pd.read_parquet(tmp_path / "cars.parquet").drop(columns="answer")
    frame.to_parquet(tmp_path / "cars.parquet")
    config = check(raw, schema)
    layout = finish(config)
    for provenance in Path(layout.output_dir).rglob("*_provenance.json"):
        stored = json.loads(provenance.read_text())
        stored["counts"] |= {"failed": 1, "failures_by_reason": {"timeout": 1}}
        provenance.write_text(json.dumps(stored))
    rows = result_rows(config, layout)
    assert rows[1].split() == ["tiny,", "image", "75.0", "-", "0.0"]
    assert rows[-1].startswith("       20 failed: 20 timeout  ")
    assert rows[-1].count("_failures.json") == 3
    assert rows[-1].endswith(" and 17 more")


def test_a_small_run_names_each_file(raw, schema):
    del raw["qa"]["boats"], raw["models"]["other"]
    config = check(raw, schema)
    rows = result_rows(config, finish(config))
    assert sum(row.endswith("_results.json") for row in rows) == 2 * 3
