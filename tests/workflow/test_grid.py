"""Models x data sets x contexts x rounds from one configuration in one call: each number of the table is recomputed."""

import json
import re

import pandas as pd
import pytest
import yaml
from projects import MODEL, draw_image, stand_in_server
from recompute_comparison import check_comparison

pytestmark = pytest.mark.slow

#: Comes second in alphabetical order, in which the configuration is written.
SECOND = "twin"
CONFIG = f"""
output_dir: out
models:
  {MODEL}: {{path: ., served_model_name: {MODEL}, server: SERVER}}
  {SECOND}: {{path: ., served_model_name: {SECOND}, server: SERVER}}
qa:
  birds: &each
    question_path: birds.parquet
    dataset_path: images
    contexts: [image, none]
    shuffle_choices: {{rounds: 2, seed: 1}}
    instruction: Answer with a letter.
    chunks: 2
  cars:
    <<: *each
    question_path: cars.parquet
client: {{concurrency: 4, backoff_s: 0.1, max_attempts: 1, max_failed_fraction: 0.5}}
"""
QUESTIONS = {"birds": 9, "cars": 15}
QUESTION = "Which {} is it?\nA. one\nB. another\nC. none"


@pytest.fixture
def project(project):
    """Two models that answer with different letters; of one question the second one has no answer in one order."""
    for number in range(5):
        draw_image(project.folder / "images" / f"{number}.png", number)
    for name, count in QUESTIONS.items():
        rows = [
            {
                "qid": f"q{number}",
                "question": QUESTION.format(f"{name} {number}") if number else f"How many {name}?",
                "answer": "ABC"[number % 3] if number else "3",
                "category": f"{name} {number % 2}",
                "image": f"{number % 5}.png",
            }
            for number in range(count)
        ]
        pd.DataFrame(rows).to_parquet(project.folder / f"{name}.parquet")
    assert len(CONFIG.strip().splitlines()) <= 30
    project.config = yaml.safe_load(CONFIG)
    for name, letters in ((MODEL, "AB"), (SECOND, "CAB")):
        project.config["models"][name]["server"] = stand_in_server(project.folder)
        project.config["models"][name]["server"]["env"] |= {
            "STAND_IN_LETTERS": letters,
            "STAND_IN_REQUESTS": str(project.folder / f"{name}.jsonl"),
            "STAND_IN_FAULTS": str(project.folder / f"{name}.faults.json"),
        }
    text = f"<image>{QUESTION.format('birds 4')}\nAnswer with a letter."
    (project.folder / f"{SECOND}.faults.json").write_text(json.dumps({"fault": {"status": 400}, "only": text}))
    return project


@pytest.fixture
def asked(project):
    """How many requests each model was sent since the last time."""

    def count():
        found = {name: project.folder / f"{name}.jsonl" for name in (MODEL, SECOND)}
        counts = {name: len(path.read_text().splitlines()) for name, path in found.items() if path.exists()}
        for path in found.values():
            path.unlink(missing_ok=True)
        return counts

    return count


def overview(project):
    text = (project.out / "report" / "data" / "overview.js").read_text()
    return json.loads(json.loads(text.partition(",")[2].rpartition(")")[0]))


def test_every_cell_of_a_grid_is_what_its_files_say_and_follows_each_change(project, asked):
    forecast = project.run("-n")
    assert f"  {MODEL}, 1 server to start\n  {SECOND}, 1 server to start:\n    birds: " in forecast
    text = project.run("--cores", "1")
    started = re.findall(r"rule (\w+):\n((?:    .+\n)+)", project.log())
    (server,) = (n for n, (rule, of) in enumerate(started) if rule == "start_server" and f"model={SECOND}" in of)
    merges = [n for n, (rule, of) in enumerate(started) if rule == "merge_qa" and f"model={MODEL}" in of]
    assert server < max(merges)  # a GPU waits for no merge
    assert "look at the results in a browser: out/report/index.html" in text
    assert text.count("look at the results") == 1
    # the open question once, the others in two orders, each in two contexts
    requests = sum(1 + 2 * (count - 1) for count in QUESTIONS.values()) * 2
    assert asked() == {MODEL: requests, SECOND: requests}
    assert f"  together {2 * requests} requests\n" in forecast
    assert check_comparison(project.out) == {"cells": 8, "macro averages": 4}
    comparison = project.comparison()
    failed = {(cell["model"], cell["context"], cell["data_set"]): cell["failed"] for cell in comparison["cells"]}
    assert {of for of, count in failed.items() if count} == {(SECOND, "image", "birds")}
    assert len({cell["accuracy"] for cell in comparison["cells"]}) > 3
    assert {cell["questions"] for cell in comparison["cells"]} == set(QUESTIONS.values())
    rows = overview(project)["rows"]
    assert [row["macro"]["share"] for row in rows] == [one["accuracy"] for one in comparison["macro_averages"]]
    assert project.plan() == {}

    # the instruction of one model
    project.config["models"][SECOND]["instruction"] = "Answer with the option's letter."
    (project.folder / f"{SECOND}.faults.json").unlink()
    before = {cell["results"]: cell for cell in comparison["cells"]}
    text = project.run()
    assert asked() == {SECOND: requests}
    assert text.count("the server is starting") == 1
    assert check_comparison(project.out) == {"cells": 8, "macro averages": 4}
    for cell in project.comparison()["cells"]:
        assert (cell == before[cell["results"]]) == (cell["model"] == MODEL)
    assert project.plan() == {}

    # one model less
    del project.config["models"][MODEL]
    project.run()
    assert asked() == {}
    assert [row["model"] for row in overview(project)["rows"]] == [SECOND, SECOND]
    assert {cell["model"] for cell in project.comparison()["cells"]} == {SECOND}
