"""The results page in a browser, from the disk: filters, keys, links, and that no text of a model does anything."""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from browser import Tab, find_browser
from captionqa.driver.phases import PHASES
from captionqa.files import write_json
from captionqa.page import failure_rows, page_lists, sample
from captionqa.page.comparison_page import write_comparison_page
from captionqa.page.results_page import write_page
from captionqa.page.run_end import page_after_run
from captionqa.page.unfinished_page import write_unfinished_page
from captionqa.results.compare_runs import compare
from finished_run import finish_run

pytestmark = pytest.mark.slow

SCRIPT = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script></script>\u2028\u202e"
#: A file name that is one, too.
SCRIPT_NAME = "<img src=x onerror=document.title='run'>&#39;.png"
QUESTIONS = 60


def answer(work, entry):
    if work != "qa":
        if entry["id"] == "b.png":
            return {"failure": "timeout", "detail": SCRIPT}
        return f"<think>{SCRIPT}</think>{SCRIPT} of {entry['id']}"
    number = int(entry["id"].removeprefix("q").removesuffix(SCRIPT))
    if number % 10 == 3:
        return {"failure": "server_error", "detail": SCRIPT}
    return f"{SCRIPT}\nThe answer is {'AB'[number % 2]}." if number % 10 != 4 else f"Nobody knows {SCRIPT}"


@pytest.fixture
def run(make_config, images, monkeypatch):
    """A configuration with data, and the layout of its finished run."""
    monkeypatch.setattr(page_lists, "SHARD_ITEMS", 25)
    images.add("a.png", "b.png", SCRIPT_NAME)
    rows = {
        "qid": [f"q{number:02}{SCRIPT if number == 7 else ''}" for number in range(QUESTIONS)],
        "question": [f"{SCRIPT} Which?\nA. red{SCRIPT}\nB. blue"] * QUESTIONS,
        "answer": ["\\boxed{A}"] * QUESTIONS,
        "image": [[["a.png"], [SCRIPT_NAME, "a.png"]][number % 2] for number in range(QUESTIONS)],
        "category": [["shape", SCRIPT, "__proto__"][number % 3] for number in range(QUESTIONS)],
    }
    config = make_config({"captions": {"prompt_styles": ["SIMPLE", "SHORT"]}})
    pd.DataFrame(rows).to_parquet(config.qa.question_path)
    return config, finish_run(config, answer)


@pytest.fixture
def page(run):
    """The page once the run has ended, with the verdict."""
    config, layout = run
    write_page(config, layout)
    verdict = {"phases": {"planning": 2.0, "asking": 100.0, "page": 0.1}, "evidence": f"slow{SCRIPT}", "advice": None}
    write_json(layout.verdict, verdict)
    return Path(page_after_run(config, layout, 0.0, True, PHASES).path)


@pytest.fixture
def tab(page, tmp_path):
    """The page in a browser that must have nothing to complain of at the end."""
    find_browser()
    with Tab(tmp_path / "browser") as tab:
        tab.open(page.as_uri())
        yield tab
        assert tab.run("document.title") == "tiny · captionqa results"
        assert tab.run("document.querySelectorAll('article script, article img[src=x], [onerror]').length") == 0
        assert tab.console == []
        assert [url for url in tab.requested if not url.startswith(page.parent.as_uri()) and url != "data:,"] == []


def says(tab, text):
    """Wait until the line above the cards says this, without its buttons and keys."""
    tab.wait(f"document.querySelector('.status span')?.textContent === {json.dumps(text)}")


def begins(tab, label):
    """Wait until the first card is this one."""
    tab.wait(f"document.querySelector('article')?.getAttribute('aria-label') === {json.dumps(label)}")


def test_filters_leave_what_they_name(tab):
    says(tab, "60 questions")
    begins(tab, "Question q01, wrong")
    tab.click(".tile.right")
    tab.wait("document.querySelector('.tile.right').getAttribute('aria-pressed') === 'true'")
    says(tab, "24 of 60 questions")
    begins(tab, "Question q00, right")
    tab.click(".tile.failed")
    says(tab, "6 of 60 questions")
    begins(tab, "Question q03, failed")
    assert "server_error" in tab.run("document.querySelector('article .fault').textContent")
    tab.click(".bar")
    category = tab.run("document.querySelector('.bar[aria-pressed=true] .name').textContent")
    says(tab, "2 of 60 questions")
    assert category in ("shape", SCRIPT, "__proto__")
    tab.press("Escape")
    says(tab, "60 questions")


def test_a_search_finds_words_of_all_questions_also_of_those_that_are_not_loaded_yet(tab):
    tab.press("/")
    tab.call("Input.insertText", text="nobody KNOWS")
    says(tab, "6 of 60 questions")
    begins(tab, "Question q04, unparsed")
    tab.run("page.setFilter({text: 'no such words'})")
    tab.wait("document.querySelector('.end').textContent === 'No question fits these filters.'")
    tab.run("page.clear()")


def test_ties_have_a_filter_and_a_search_finds_and_opens_what_another_sample_said(run, make_config, tmp_path):
    def said(work, entry):
        is_other = entry["id"].startswith("q05") and entry.get("sample", 1) == 2
        return "A zeppelin. The answer is B." if is_other else "The answer is A."

    changes = {"captions": None, "qa": {"samples": 2}, "client": {"sampling": {"temperature": 1}}}
    config = make_config({**changes, "output_dir": str(tmp_path / "samples")})
    layout = finish_run(config, said)
    write_page(config, layout)
    find_browser()
    with Tab(tmp_path / "browser") as tab:
        tab.open(Path(layout.page).as_uri())
        begins(tab, "Question q05, tied")
        assert tab.run("document.querySelector('.tile.unparsed').disabled")
        tab.click(".tile.tie")
        says(tab, "1 of 60 questions")
        assert tab.run("document.querySelector('article .badge').textContent") == "= tied"
        assert not tab.run("document.querySelector('.rounds').open")
        tab.press("Escape")
        says(tab, "60 questions")
        tab.press("/")
        tab.call("Input.insertText", text="ZEPPELIN")
        says(tab, "1 of 60 questions")
        assert tab.run("document.querySelector('.rounds').open")
        assert tab.console == []


def test_keys_go_from_card_to_card_over_the_edge_of_a_file(tab):
    for _ in range(2):
        tab.press("j")
        tab.wait("document.activeElement.matches('article')")
    tab.wait("document.activeElement.getAttribute('aria-label') === 'Question q05, wrong'")
    tab.press("k")
    tab.wait("document.activeElement.getAttribute('aria-label') === 'Question q01, wrong'")
    tab.run("(async () => { for (let n = 0; n < 58; n++) await page.move(1); })()")
    assert tab.run("document.activeElement.getAttribute('aria-label')") == "Question q56, right"


def test_a_key_waits_for_the_cards_that_are_on_their_way(tab):
    tab.run("(async () => { page.more(); await page.move(21); })()")  # the next file is read outside of this script
    assert tab.run("document.activeElement.matches('article:nth-child(21)')")
    assert tab.run("document.querySelectorAll('article').length") == 40


def test_a_link_shows_its_question_alone(tab, page):
    qid = f"q07{SCRIPT}"
    tab.call("Page.navigate", url="about:blank")
    tab.open(f"{page.as_uri()}#q={quote(qid, safe='')}")
    says(tab, "one question")
    assert tab.run("document.querySelectorAll('article').length") == 1
    begins(tab, f"Question {qid}, wrong")
    tab.click(".status .plain")
    says(tab, "60 questions")
    assert tab.run("location.hash") == ""
    tab.run("location.hash = 'q=nobody'")
    tab.wait("document.querySelector('.status').textContent === 'This page does not show the question of this link.'")
    tab.click(".link")
    says(tab, "one question")


def test_captions_stand_below_their_image(tab):
    tab.run("document.querySelectorAll('.tabs button')[1].click()")
    tab.wait("document.querySelector('article.shot') !== null")
    says(tab, "3 images")
    begins(tab, "Image b.png")
    alts = tab.run("[...document.querySelectorAll('article img')].map(image => image.alt)")
    assert alts == ["Image b.png", f"{SCRIPT} of {SCRIPT_NAME}", f"{SCRIPT} of a.png"]
    tab.wait("[...document.querySelectorAll('article img')].every(image => image.complete && image.naturalWidth === 8)")
    outputs = tab.run("[...document.querySelectorAll('article')].map(card => card.querySelectorAll('.output').length)")
    assert outputs == [0, 4, 4]  # of each caption its text and its reasoning
    assert tab.run("document.querySelectorAll('details.folded:not([open]) .output').length") == 4
    tab.click(".tile.failed")
    says(tab, "1 of 3 images")
    tab.run("page.clear()")


def test_the_run_says_where_its_time_went_and_draws_its_answers(tab):
    assert tab.run("document.querySelector('.run h2').textContent") == "Where 2 min went"
    legend = tab.run("[...document.querySelectorAll('.legend li')].map(part => part.textContent)")
    assert legend == ["planning2 s", "requests2 min"]
    assert SCRIPT in tab.run("document.querySelector('.run .facts').textContent")
    assert "60 s" not in legend
    label = tab.run("document.querySelector('.plot svg').getAttribute('aria-label')")
    assert label.startswith("Answers, per second, from 2023-11-14 22:13 UTC on, at most ")


def test_captions_are_filtered_by_path_and_by_a_click_on_a_length(tab):
    tab.run("page.show('captions')")
    tab.wait("document.querySelector('article.shot') !== null")
    tab.click(".toolbar .path")
    tab.call("Input.insertText", text="A.PNG")
    says(tab, "1 of 3 images")
    begins(tab, "Image a.png")
    tab.press("Escape")
    says(tab, "3 images")
    tab.click(".bin:not(:disabled)")
    says(tab, "1 of 3 images")
    assert tab.run("document.querySelector('.toolbar input[type=number]').value") != ""
    tab.click(".bin[aria-pressed=true]")
    says(tab, "3 images")


def test_a_comparison_shows_what_one_run_alone_got_right_with_its_images(run, make_config, tmp_path):
    find_browser()
    config, layout = run
    other = replace(config, output_dir=str(tmp_path / "other"))
    second = finish_run(other, lambda work, entry: "The answer is B." if work == "qa" else "a caption")
    folder = tmp_path / "comparison"
    written = write_comparison_page(compare(layout.qa("results"), second.qa("results")), folder)
    with Tab(tmp_path / "browser") as tab:
        tab.open(written.as_uri())
        assert tab.run("document.querySelector('.accuracy strong').textContent").startswith("\u2212")
        says(tab, "24 questions")
        begins(tab, "Question q10, right only in A")
        tab.wait("document.querySelector('article img').naturalWidth === 8")
        assert tab.run("document.querySelector('.choice.truth .tags').textContent") == "✓ ground truthrun A"
        tab.click(".bar")
        tab.wait("document.querySelector('.bar').getAttribute('aria-pressed') === 'true'")
        tab.run("page.setFilter({category: '', status: 'only_b'})")
        tab.wait("document.querySelector('.end').textContent === 'No question fits these filters.'")
        assert tab.run("document.title") == "Two runs compared"
        assert tab.console == []
        assert [url for url in tab.requested if not url.startswith(folder.as_uri()) and url != "data:,"] == []


def test_a_file_that_is_missing_is_named_and_the_page_goes_on(page, tmp_path):
    find_browser()
    (page.parent / "data" / "questions-1.js").unlink()
    with Tab(tmp_path / "browser", height=9000) as tab:
        tab.open(page.as_uri())
        tab.wait("document.querySelector('.status').textContent.startsWith('data/questions-1.js is missing: ')")
        assert tab.run("document.querySelectorAll('article').length") == 20
        tab.run("page.move(21)")  # a key, to a card that cannot be shown
        tab.press("j")
        tab.wait("document.activeElement.matches('article:first-child')")


def test_the_page_in_one_file_needs_no_other_and_no_text_of_it_does_anything(run, page, tmp_path):
    find_browser()
    moved = tmp_path / "alone" / "results.html"
    moved.parent.mkdir()
    page.with_name("results.html").rename(moved)
    with Tab(tmp_path / "browser") as tab:
        tab.open(moved.as_uri())
        says(tab, "60 questions")
        tab.wait("document.querySelector('article img').naturalWidth === 8")
        tab.click(".tile.failed")
        says(tab, "6 of 60 questions")
        assert tab.run("document.title") == "tiny · captionqa results"
        assert tab.console == []
        assert [url for url in tab.requested if url != moved.as_uri() and not url.startswith("data:")] == []


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_nothing_is_wider_than_the_window(page, tmp_path, width, dark):
    find_browser()
    with Tab(tmp_path / "browser", width, 900, dark) as tab:
        tab.open(page.as_uri())
        assert tab.run("document.documentElement.scrollWidth") == width
        red = tab.run("Number(/\\d+/.exec(getComputedStyle(document.body).backgroundColor)[0])")
        assert (red < 128) == dark


@pytest.fixture
def contexts(run, make_config, tmp_path):
    """The page of a run in four contexts: captions are half as good as images, and nothing is half as good as these."""
    config, _ = run
    config = replace(config, qa=replace(config.qa, contexts=["image", "caption", "none"]))

    def answer(work, entry):
        if not work.startswith("qa"):
            return f"{SCRIPT} {work} of {entry['id']}"
        number = int(entry["id"].removeprefix("q").removesuffix(SCRIPT))
        right = number % {"qa": 20, "qa_caption_simple": 4, "qa_caption_short": 3, "qa_none": 2}[work] != 1
        return f"{SCRIPT} of {work}\nThe answer is {'BA'[right]}."

    layout = finish_run(config, answer)
    write_page(config, layout)
    return Path(layout.page)


def test_a_context_without_answers_adds_no_nameless_rule_to_the_filter(run, tmp_path):
    find_browser()
    config = replace(run[0], output_dir=str(tmp_path / "stopped"))
    config = replace(config, qa=replace(config.qa, contexts=["image", "none"]))
    layout = finish_run(config, lambda work, entry: None if work == "qa_none" else answer(work, entry), merged=False)
    assert write_unfinished_page(config, layout)
    with Tab(tmp_path / "browser") as tab:
        tab.open(Path(layout.page).as_uri())
        rules = "[...document.querySelector('[aria-label=\"Filter by rule\"]').options]"
        assert all(tab.run(f"{rules}.map(option => option.textContent)"))
        assert tab.run(f"{rules}.findIndex(option => option.selected)") == 0


def test_flips_between_two_contexts_are_chosen_by_two_selects_or_by_a_count_of_the_differences(contexts, tmp_path):
    find_browser()
    labels = "[...document.querySelectorAll('article .answers.contexts > div')].slice(0, 4)"
    with Tab(tmp_path / "browser") as tab:
        tab.open(contexts.as_uri())
        says(tab, "60 questions")
        rows = "[...document.querySelectorAll('.pairs tbody th')].map(row => row.textContent.replace('\u2212', '-'))"
        assert tab.run(rows) == [
            "image - none",
            "caption SIMPLE - none",
            "caption SHORT - none",
            "image - caption SIMPLE",
            "image - caption SHORT",
            "caption SIMPLE - caption SHORT",
        ]
        for key, column in (("right", "image"), ("wrong", "caption SHORT")):
            tab.run(
                f"(select => {{ select.value = [...select.options].find(one => one.text === '{column}').value;"
                "select.dispatchEvent(new Event('change')); })"
                f"(document.querySelector('.flips [aria-label^={key}]'))"
            )
        says(tab, "19 of 60 questions")
        begins(tab, "Question q04, right")
        shown = tab.run(f"{labels}.map(each => each.querySelector('.label').textContent)")
        assert shown == ["imageA✓ right", "caption SIMPLEA✓ right", "caption SHORTB✗ wrong", "noneA✓ right"]
        assert tab.run(f"{labels}.map(each => each.querySelector('.caption')?.textContent)") == [
            None,
            f"{SCRIPT} simple of a.png",
            f"{SCRIPT} short of a.png",
            None,
        ]
        assert tab.run(f"{labels}.map(each => each.querySelector('.output').textContent)")[3].startswith(
            f"{SCRIPT} of qa_none"
        )
        tags = tab.run("[...document.querySelectorAll('article .choice')].slice(0, 2).map(one => one.textContent)")
        assert tags == [f"Ared{SCRIPT}✓ ground truthimagecaption SIMPLEnone", "Bblue✗ caption SHORT"]
        tab.press("Escape")
        says(tab, "60 questions")
        tab.click(".pairs tr:nth-child(2) .flip button")
        says(tab, "15 of 60 questions")
        assert tab.run("[...document.querySelectorAll('.flips select')].map(one => one.selectedOptions[0].text)") == [
            "caption SIMPLE",
            "none",
        ]
        tab.run("page.clear()")
        heading = "[...document.querySelectorAll('h2')].find(one => one.textContent.includes(', with image'))"
        headings = (
            "['source', 'category'].map(group => { page.group = group; page.buildPanels();"
            f"return {heading}.textContent; }})"
        )
        assert tab.run(headings) == [
            "Accuracy by source, with image; here a failed question is wrong",
            "Accuracy by category, with image",
        ]
        tab.click(".bars.contexts .bar:last-child")
        begins(tab, "Question q01, wrong")
        tab.click(".tile.right")
        says(tab, "30 of 60 questions")
        assert tab.run("document.title") == "tiny · captionqa results"
        assert tab.run("document.querySelectorAll('article script, article img[src=x], [onerror]').length") == 0
        assert tab.console == []
        tab.resize(420, 900)
        assert tab.run("document.documentElement.scrollWidth") == 420
        separators = (
            "[...document.querySelectorAll('.facts > span')].map(one => getComputedStyle(one, '::after').content)"
        )
        assert set(tab.run(separators)) == {"none"}  # one behind a fact would stand at the end of a line


def test_a_page_of_a_sample_lists_all_failures_by_file_and_reason(run, monkeypatch, tmp_path):
    find_browser()
    monkeypatch.setattr(sample, "WHOLE_ITEMS", 20)
    monkeypatch.setattr(sample, "LIMITS", {"failed": 2, "wrong": 5, "other": 5})
    monkeypatch.setattr(failure_rows, "SHARD_ROWS", 4)
    config, layout = run
    write_page(config, layout)
    with Tab(tmp_path / "browser") as tab:
        tab.open(Path(layout.page).as_uri())
        note = tab.run("document.querySelector('.note').textContent")
        assert note == (
            "This page shows 12 of 60 questions: 2 of the 6 that failed; 5 of the 30 that are wrong or unparsed; "
            "5 of the 24 that are none of these, chosen at random. The counts and accuracies are of all of them. "
            "The list “Failures” has every failure."
        )
        tab.run("page.show('failures')")
        says(tab, "8 failures")
        tab.run("page.setFilter({reason: 'server_error'})")
        says(tab, "6 of 8 failures")
        tab.wait("document.querySelectorAll('.failure').length === 6")
        assert tab.run("document.querySelector('.failure').textContent") == f"q03qa: server_error{SCRIPT}"
        tab.run("page.setFilter({text: 'Q13'})")
        says(tab, "1 of 8 failures")
        assert tab.run("document.title") == "tiny · captionqa results"
        assert tab.console == []
