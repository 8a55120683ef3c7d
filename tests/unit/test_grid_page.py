"""The page of several data sets: its table is that of the comparison, and it leads to the page of each."""

import json
import math
import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from browser import Tab, find_browser
from captionqa.config.check import check
from captionqa.driver.phases import PHASES
from captionqa.driver.summary import page_rows
from captionqa.errors import ResultError
from captionqa.page.grid import write_grid_page, write_unfinished_grid_page
from captionqa.page.live_grid import LiveGrid
from captionqa.page.live_page import LivePage
from captionqa.page.page_server import PageServer
from captionqa.page.results_page import write_page
from captionqa.page.run_end import PageEnd, grid_page_after_run
from captionqa.page.unfinished_page import write_unfinished_page
from finished_run import finish_run, judge_run

SCRIPT = "<img src=x onerror=\"document.title='run'\">"


def answer(work, entry):
    """The answers to q0 fail with images, and those to even questions are right."""
    number = int(re.match(r"q(\d+)", entry["id"])[1])
    if (work, number) == ("qa", 0):
        return {"failure": "timeout", "detail": SCRIPT}
    said = ("red", "blue")[number % 2]
    return f"The answer is {next(line[0] for line in entry['question'].split(chr(10)) if line.endswith(said))}."


@pytest.fixture
def raw(raw_config, images, tmp_path):
    """Two models on two data sets in two contexts."""
    images.add("a.png", "b.png")
    for name, count in (("birds", 4), ("cars", 7)):
        rows = {"qid": [f"q{n}" for n in range(count)], "question": ["Which?\nA. red\nB. blue"] * count}
        rows |= {
            "answer": ["\\boxed{A}"] * count,
            "image": [["a.png"], ["b.png"]] * (count // 2) + [["a.png"]] * (count % 2),
        }
        pd.DataFrame(rows).to_parquet(tmp_path / f"{name}.parquet")
    raw = raw_config({"captions": None})
    raw["models"] = dict.fromkeys(("tiny", "other"), raw["models"]["tiny"])
    qa = {"dataset_path": str(images.path), "contexts": ["image", "none"], "shuffle_choices": {"rounds": 2}}
    raw["qa"] = {name: {"question_path": str(tmp_path / f"{name}.parquet"), **qa} for name in ("birds", "cars")}
    return raw


@pytest.fixture
def config(raw, schema):
    return check(raw, schema)


@pytest.fixture
def run(config):
    """The configuration, and the layout of its finished run with all pages."""
    layout = finish_run(config, answer)
    for each, of_data in config.by_data_set(layout):
        write_page(each, of_data)
    write_grid_page(config, layout)
    return config, layout


def overview(folder):
    text = (folder / "data" / "overview.js").read_text()
    return json.loads(json.loads(text.partition(",")[2].rpartition(")")[0]))


def test_the_table_has_the_figures_of_the_comparison(run):
    _, layout = run
    shown, comparison = overview(Path(layout.page).parent), json.loads(Path(layout.comparison("json")).read_text())
    rows = [(row["model"], row["context"], row["macro"]["share"], row["macro"]["interval"]) for row in shown["rows"]]
    assert rows == [
        (one["model"], one["context"], one["accuracy"], one["accuracy_interval_95"])
        for one in comparison["macro_averages"]
    ]
    cells = {(one["model"], one["context"], one["data_set"]): one for one in comparison["cells"]}
    for row in shown["rows"]:
        for name, cell in zip(("birds", "cars"), row["cells"], strict=True):
            found = cells[row["model"], row["context"], name]
            assert (cell["share"], cell["failed"], cell["graded"]) == (
                found["accuracy"],
                int(row["context"] == "image"),
                found["graded"],
            )
    between = [(one["a"], one["b"], one["macro"]["difference"]) for one in shown["differences"]]
    assert len(between) == 4
    assert between[-1][:2] == ({"model": "tiny", "context": "none"}, {"model": "other", "context": "none"})
    sets = [(one["name"], one["questions"], one["failed"], one["page"]) for one in shown["data_sets"]]
    assert sets == [("birds", 4, 2, "../birds/report/index.html"), ("cars", 7, 2, "../cars/report/index.html")]


def test_the_page_of_a_data_set_has_only_its_own_answers(run):
    config, layout = run
    cells = json.loads(Path(layout.comparison("json")).read_text())["cells"]
    for each, of_data in config.by_data_set(layout):
        index = overview(Path(of_data.page).parent)["questions"]
        assert index["counts"]["all"] == {"birds": 4, "cars": 7}[each.data_set]
        assert [column["label"] for column in index["columns"]] == [
            *("tiny, image", "other, image", "tiny, none", "other, none")
        ]
        assert len(index["differences"]) == 4
        assert f"<h1 dir='auto'>tiny, other on {each.data_set}</h1>" in Path(of_data.page_tables).read_text()
        for column in index["columns"]:
            found = (column["model"], column["context"], each.data_set)
            cell = next(one for one in cells if (one["model"], one["context"], one["data_set"]) == found)
            assert (column["accuracy"], column["graded"]) == (cell["accuracy"], cell["graded"])


def test_the_page_of_a_stopped_run_leads_to_the_pages_that_there_are_and_is_made_anew(config):
    layout = finish_run(config, answer, merged=False)
    assert grid_page_after_run(config, layout, 0.0, False, PHASES) == PageEnd(None)
    (cars, of_cars) = config.by_data_set(layout)[1]
    write_unfinished_page(cars, of_cars)
    assert grid_page_after_run(config, layout, 0.0, False, PHASES) == PageEnd(layout.page)
    shown = overview(Path(layout.page).parent)
    assert [(one["name"], one["page"]) for one in shown["data_sets"]] == [
        ("birds", None),
        ("cars", "../cars/report/index.html"),
    ]
    assert (shown["is_unfinished"], shown["rows"]) == (True, [])
    assert Path(layout.page).stat().st_mtime == 0


def test_a_run_that_fails_after_all_results_keeps_the_table_or_makes_it(run):
    config, layout = run
    for _, of_data in config.by_data_set(layout):
        os.utime(of_data.page, (0, 0))  # made at the end of a run whose judge failed
    made = Path(layout.page).stat().st_mtime
    assert grid_page_after_run(config, layout, 0.0, False, PHASES) == PageEnd(layout.page)
    assert Path(layout.page).stat().st_mtime == made
    Path(layout.page).unlink()
    assert grid_page_after_run(config, layout, 0.0, False, PHASES) == PageEnd(layout.page)
    assert overview(Path(layout.page).parent)["rows"]
    assert Path(layout.page).stat().st_mtime == 0
    Path(layout.comparison("json")).unlink()
    assert grid_page_after_run(config, layout, 0.0, False, PHASES) == PageEnd(layout.page)
    assert overview(Path(layout.page).parent)["is_unfinished"]


@pytest.mark.parametrize("is_finished", [True, False])
def test_the_other_pages_of_a_data_set_without_a_name_lead_to_those_of_all(run, is_finished):
    config, layout = run
    earlier = [Path(layout.page_in_one_file), Path(layout.page_tables)]
    assert not any(path.exists() for path in earlier)
    of_data_sets = [Path(of_data.page_tables) for _, of_data in config.by_data_set(layout)]
    texts = [path.read_text() for path in of_data_sets]
    for path in earlier:
        path.write_text("accuracy 12.5%")
    (write_grid_page if is_finished else write_unfinished_grid_page)(config, layout)
    for path in earlier:
        links = re.findall('href="(.*?)"', path.read_text())
        assert links == ["index.html", "../birds/report/index.html", "../cars/report/index.html"]
        assert all((path.parent / link).exists() for link in links)
        assert "12.5%" not in path.read_text()
    assert [path.read_text() for path in of_data_sets] == texts


def test_a_comparison_that_is_older_than_the_results_of_any_data_set_is_not_shown(raw, schema):
    del raw["models"]["other"]
    for qa in raw["qa"].values():  # one answer set each, which have a comparison only together
        qa["contexts"] = ["image"]
    config = check(raw, schema)
    layout = finish_run(config, answer)
    for each, of_data in config.by_data_set(layout):
        write_page(each, of_data)
    os.utime(layout.comparison("json"), (0, 0))
    assert grid_page_after_run(config, layout, 0.0, False, PHASES) == PageEnd(layout.page)
    assert overview(Path(layout.page).parent)["is_unfinished"]


def test_a_page_that_is_older_than_the_grades_is_made_anew_at_the_end_of_a_run_that_failed(run):
    config, layout = run
    results = Path(config.by_data_set(layout)[1][1].qa("results"))
    for made in (path for _, of_data in config.by_data_set(layout) for path in Path(of_data.page).parent.iterdir()):
        os.utime(made, (1_800_000_000, 1_800_000_000))
    for path in (layout.page, layout.comparison("json")):
        os.utime(path, (1_800_000_000, 1_800_000_000))
    for path in (results, *results.parent.glob("*_qa_[mfp]*.json")):  # graded anew
        os.utime(path, (1_800_000_001, 1_800_000_001))
    assert page_rows(config, layout, 0.0, False, "my.yaml") == [f"look at the results in a browser: {layout.page}"]
    assert overview(Path(layout.page).parent)["is_unfinished"]


def test_one_answer_set_alone_is_shown_too(raw, schema):
    del raw["models"]["other"], raw["qa"]["cars"]
    raw["qa"]["birds"]["contexts"] = ["image"]
    config = check(raw, schema)
    layout = finish_run(config, answer)
    write_grid_page(config, layout)
    shown = overview(Path(layout.page).parent)
    (row,) = shown["rows"]
    (cell,) = row["cells"]
    assert (row["macro"], cell["graded"], cell["failed"], cell["share"]) == (None, 3, 1, 1 / 3)
    (birds,) = shown["data_sets"]
    assert (birds["questions"], birds["majority"]["answer"]) == (4, "A")


def test_a_judges_accuracies_stand_beside_those_of_the_rules_with_their_means(raw, schema, tmp_path):
    raw["models"]["critic"] = {**raw["models"]["tiny"], "path": "org/critic"}
    for qa in raw["qa"].values():
        qa["judge"] = {"model": "critic", "when": "always"}
    config = check(raw, schema)
    # nothing can be read of one answer, so that what the judge says of it counts
    layout = finish_run(config, lambda work, entry: "Hm." if entry["id"][:2] == "q3" else answer(work, entry))
    judge_run(config, lambda entry: f"Grade: {'incorrect' if entry['id'] == 'q5' else 'correct'}")
    for each, of_data in config.by_data_set(layout):
        write_page(each, of_data)
    write_grid_page(config, layout)
    shown = overview(Path(layout.page).parent)["judge"]
    assert (shown["judge"], shown["averaged"]) == ("critic", ["birds", "cars"])
    birds, cars = shown["data_sets"]
    rows = [("tiny", "image"), ("other", "image"), ("tiny", "none"), ("other", "none")]
    for part in (birds["rows"], cars["rows"], shown["averages"]):
        assert [(row["model"], row["context"]) for row in part] == rows
    for mean, one, other in zip(shown["averages"], birds["rows"], cars["rows"], strict=True):
        for by in ("rules", "by_judge", "combined"):
            figures = one["figures"][by], other["figures"][by]
            assert mean["figures"][by]["accuracy"] == pytest.approx(sum(each["accuracy"] for each in figures) / 2)
            for bound, end in zip(mean["figures"][by]["accuracy_interval_95"], (0, 1), strict=True):
                reach = math.hypot(*(each["accuracy"] - each["accuracy_interval_95"][end] for each in figures)) / 2
                assert abs(bound - mean["figures"][by]["accuracy"]) == pytest.approx(reach)
    # by the rules the failed question counts, and the judge did not get it
    assert birds["rows"][0]["figures"]["rules"]["accuracy"] == 1 / 4
    assert cars["rows"][0]["figures"]["by_judge"]["accuracy"] == 5 / 6
    assert (birds["rows"][0]["figures"]["combined"]["accuracy"], cars["rows"][0]["figures"]["rules"]["total"]) == (
        1 / 2,
        7,
    )
    with Tab(tmp_path / "browser") as tab:
        tab.open(Path(layout.page).resolve().as_uri())
        text = tab.run("document.querySelector('.judge tbody').innerText")
        assert text.split()[:4] == ["macro", "average", "tiny", "image"]
        assert f"{100 * shown['averages'][0]['figures']['combined']['accuracy']:.1f}%" in text
        assert tab.run("document.querySelectorAll('.judge .group a').length") == 2
        assert tab.console == []

    # a prompt that the judge has not been asked yet, and a data set without a judge
    raw["qa"]["birds"]["judge"] = {**raw["qa"]["birds"]["judge"], "prompt": "{answer} / {ground_truth}"}
    write_grid_page(check(raw, schema), layout)
    shown = overview(Path(layout.page).parent)["judge"]
    assert {row["figures"] for row in shown["data_sets"][0]["rows"]} == {None}
    assert [set(row["figures"].values()) for row in shown["averages"]] == [{None}] * 4
    raw["qa"]["cars"]["contexts"] = ["image"]
    write_grid_page(check(raw, schema), layout)
    shown = overview(Path(layout.page).parent)["judge"]
    assert [(row["model"], row["context"]) for row in shown["averages"]] == rows[:2]
    del raw["qa"]["birds"]["judge"]
    write_grid_page(check(raw, schema), layout)
    shown = overview(Path(layout.page).parent)["judge"]
    assert ([one["name"] for one in shown["data_sets"]], shown["averages"]) == (["cars"], [])


def test_answers_of_which_the_judge_gets_none_have_no_row_of_its_figures(raw, schema, tmp_path):
    raw["models"]["critic"] = {**raw["models"]["tiny"], "path": "org/critic"}
    for qa in raw["qa"].values():
        qa["judge"] = {"model": "critic", "when": "unparsed"}
    config = check(raw, schema)
    # nothing can be read of one answer with its images
    layout = finish_run(
        config, lambda work, entry: "Hm." if (work, entry["id"][:2]) == ("qa", "q3") else answer(work, entry)
    )
    judge_run(config, lambda entry: "Grade: correct")
    for each, of_data in config.by_data_set(layout):
        write_page(each, of_data)
    write_grid_page(config, layout)
    shown = overview(Path(layout.page).parent)["judge"]
    rows = [(row["model"], row["context"]) for row in shown["averages"]]
    assert rows == [("tiny", "image"), ("other", "image")]
    said = "In 2 contexts no answer had to be judged."
    with Tab(tmp_path / "browser", width=420) as tab:
        tab.open(Path(layout.page).resolve().as_uri())
        heads = "[...document.querySelectorAll('.judge tbody th[scope=row]')].map(head => head.innerText)"
        assert tab.run(heads) == ["tiny\nimage", "other\nimage"] * 3
        assert tab.run("[...document.querySelectorAll('.unjudged')].map(cell => cell.innerText)") == [said] * 2
        assert tab.run("document.querySelector('.unjudged').getBoundingClientRect().height") < 40  # one line
        for _, of_data in config.by_data_set(layout):
            tab.open(Path(of_data.page).resolve().as_uri())
            assert tab.run(heads) == ["tiny, image", "other, image"]
            assert tab.run(f"document.querySelector('#header').innerText.includes('{said} All else')")
        assert tab.console == []


def test_a_data_set_without_questions_is_no_column_of_the_tables(raw, schema, images, tmp_path):
    raw["captions"] = {"photos": {"dataset_path": str(images.path)}}
    raw["qa"]["old-timers"] = raw["qa"].pop("cars") | {"contexts": ["image"]}
    config = check(raw, schema)
    layout = finish_run(config, lambda work, entry: answer(work, entry) if "question" in entry else "A cat.")
    write_grid_page(config, layout)
    with Tab(tmp_path / "browser", width=420) as tab:
        tab.open(Path(layout.page).resolve().as_uri())
        heads = "[...document.querySelectorAll('.grid thead th')].map(head => head.textContent)"
        assert (
            tab.run(heads)
            == ["model", "", "macro average", "birds", "old-timers"]
            + ["A \u2212 B", "", "macro average", "birds", "old-timers"] * 2
        )
        assert "The macro average is the mean over birds, old-timers; each" in tab.run("document.body.innerText")
        links = tab.run("[...document.querySelectorAll('.data-set > a')].map(link => link.textContent)")
        assert links == ["captions and images"] + ["questions, answers and images"] * 2
        # not cut on a narrow screen
        assert (
            tab.run("[...document.querySelectorAll('.reason')].map(text => text.innerText)")
            == ["old-timers: not asked"] * 5
        )
        assert tab.run(
            "[...document.querySelectorAll('.grid .interval')].every(text => text.scrollWidth <= text.clientWidth)"
        )


def test_the_end_of_a_run_names_the_page_of_all_and_only_the_faults_of_others(run):
    config, layout = run
    assert page_rows(config, layout, 0.0, True, "my.yaml") == [f"look at the results in a browser: {layout.page}"]
    (_, of_birds), (_, of_cars) = config.by_data_set(layout)
    Path(of_birds.page).write_text("")
    browser, fault = page_rows(config, layout, 0.0, True, "my.yaml")
    assert (browser, "could not be made" in fault) == (f"look at the results in a browser: {layout.page}", True)
    Path(layout.page).unlink()
    (row,) = page_rows(config, layout, 0.0, True, "my.yaml")
    assert row == f"look at the results in a browser: {of_cars.page}"


def test_a_comparison_of_earlier_results_is_named_and_not_served(run, tmp_path):
    config, layout = run
    (birds, of_birds), _ = config.by_data_set(layout)
    metrics = Path(of_birds.qa("metrics"))
    metrics.write_text(json.dumps(json.loads(metrics.read_text()) | {"correct_answers": 3}))  # graded anew
    for page, of in ((LiveGrid, (config, layout)), (LivePage, (birds, of_birds))):
        (folder := tmp_path / page.__name__).mkdir()
        with pytest.raises(ResultError, match=r"comparison\.json is of earlier results; run the same command again"):
            page(*of, folder, PHASES)


@pytest.mark.slow
def test_a_data_set_may_be_called_as_the_folder_of_the_served_pages_data(config, tmp_path):
    config = replace(config, named={"birds": config.named["birds"], "data": config.named["cars"]})
    layout = finish_run(config, answer)
    (tmp_path / "view").mkdir()
    served = LiveGrid(config, layout, tmp_path / "view", PHASES)
    shown = [
        served.reply(path) for path in ("data/overview.js", "data/report/data/overview.js", "data/report/index.html")
    ]
    assert None not in shown
    assert len({reply.data for reply in shown}) == 3


def test_its_links_lead_to_the_pages_from_the_disk_and_when_served(run, tmp_path):
    config, layout = run
    find_browser()
    (tmp_path / "view").mkdir()
    with (
        PageServer(LiveGrid(config, layout, tmp_path / "view", PHASES)) as server,
        Tab(tmp_path / "browser") as tab,
    ):
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        for address in (Path(layout.page).resolve().as_uri(), server.url):
            tab.open(address)
            tab.wait("document.querySelectorAll('.grid').length === 3")
            assert tab.run("document.title") == "2 data sets · captionqa results"
            assert tab.run("document.querySelector('.grid tbody td.count b').textContent").endswith("%")
            tab.click(".data-set:nth-child(2) > a")
            tab.wait("document.querySelectorAll('article').length === 7")
            # the other questions of four answer sets, in both orders
            assert tab.run("document.querySelectorAll('article details.rounds li').length") == (6 * 2 + 7 * 2) * 2
            assert tab.run("document.querySelector('article details.rounds .order').textContent") == "BA"
            assert tab.run("document.querySelector('.grid tbody td[data-label=consistency] b').textContent") == "100.0%"
            assert tab.run("document.title") == "2 models on cars · captionqa results"
            pairs = tab.run("[...document.querySelectorAll('.pairs tbody th')].map(head => head.innerText)")
            assert pairs == [
                "image \u2212 none\ntiny",
                "image \u2212 none\nother",
                "tiny \u2212 other\nimage",
                "tiny \u2212 other\nnone",
            ]
        assert tab.console == []
        server.shutdown()
