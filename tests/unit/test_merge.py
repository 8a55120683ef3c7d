"""Merging: totals add up, and chunk results that are incomplete or of other settings are refused."""

import os
from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from statistics import fmean

import pytest
from captionqa.client.chunk_result import FORMAT, write_chunk
from captionqa.client.text_figures import text_figures
from captionqa.config.settings import caption_settings, fingerprint, qa_settings
from captionqa.errors import ResultError, TooManyFailuresError
from captionqa.files import json_line, read_json, write_json
from captionqa.grading.scoring import GradingRules
from captionqa.results.caption_figures import CaptionFigures
from captionqa.results.captions import merge_captions
from captionqa.results.failures import check_failures
from captionqa.results.made_from import is_made_from, made_from
from captionqa.results.qa import merge_qa
from captionqa.results.statistics import wilson_interval
from hypothesis import given, settings
from hypothesis import strategies as st

SERVER = {"url": "http://node:8000", "generation": 1, "vllm": "1.2"}
CAPTION_FILES = {"captions.json", "failures.json", "provenance.json", "statistics.json"}
REASONS = ["timeout", "missing_image", "empty_output"]


def answered(name, text="A cat.", finish_reason="stop", files=("d1",)):
    tokens = {"prompt_tokens": 10, "completion_tokens": 5}
    answer = {"text": text, "finish_reason": finish_reason, **tokens, "server": SERVER}
    return {"id": name, "answer": answer, "files": list(files)}


def failed(name, reason="timeout"):
    return {"id": name, "failure": reason, "detail": f"what happened to {name}"}


def row(qid, answer=r"\boxed{A}", **changes):
    question = "Which?\nA. red\nB. blue"
    known = {"id": qid, "question": question, "answer": answer, "images": ["a.png"], "category": "c", "source": "s"}
    return known | changes


class Outputs:
    """The files that a merge writes; `outputs.KIND` reads one."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, kind):
        return str(self.folder / f"{kind}.json")

    def __getattr__(self, kind):
        return read_json(self.path(kind))


@pytest.fixture
def outputs(tmp_path):
    return Outputs(tmp_path / "final")


@pytest.fixture
def styles(make_config):
    return caption_settings(make_config(), "tiny", "SIMPLE")


@pytest.fixture
def asked(make_config):
    return qa_settings(make_config(), "tiny")


@pytest.fixture
def chunk(tmp_path):
    """Write a chunk result, sorted as client jobs write it."""
    paths = []

    def write(settings, lines, **changes):
        header = {
            "chunk": f"{len(paths)}-of-9",
            "format": FORMAT,
            "fingerprint": fingerprint(settings),
            "settings": settings,
            "items": len(lines),
            "started": 1000.0 + len(paths),
            "finished": 2000.0 + len(paths),
            "client": {"host": "node", "job": "7"},
            "servers": [{"url": "http://node:8000", "model": "tiny"}],
        }
        paths.append(str(tmp_path / f"chunk{len(paths)}.jsonl"))
        write_chunk(paths[-1], header | changes, sorted(lines, key=itemgetter("id")))
        return paths[-1]

    return write


@pytest.fixture
def captions(outputs, styles):
    def merge(*chunks):
        kinds = ("captions", "failures", "provenance", "statistics")
        merge_captions(chunks, styles, "images", *map(outputs.path, kinds))
        return outputs

    return merge


@pytest.fixture
def answers(outputs, asked, tmp_path):
    """Merge chunk results by question rows, sorted as the driver writes them."""

    def merge(rows, *chunks, **options):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(map(json_line, sorted(rows, key=itemgetter("id")))))
        kinds = ("results", "metrics", "failures", "provenance", "flips")
        graded = str(tmp_path / "graded.jsonl")
        rules = GradingRules(**options)
        merge_qa(chunks, str(path), asked, "questions.parquet", "images", *map(outputs.path, kinds), graded, rules)
        return outputs

    return merge


def test_captions_are_sorted_over_all_chunks(chunk, captions, styles):
    made = captions(
        chunk(styles, [answered("b.png", "two"), answered("d/a.png", "four")]),
        chunk(styles, [answered("a.png", "one"), answered("c.png", "three")]),
    )
    assert list(made.captions.items()) == [("a.png", "one"), ("b.png", "two"), ("c.png", "three"), ("d/a.png", "four")]


def test_failures_stand_beside_the_captions_and_not_among_them(chunk, captions, styles):
    made = captions(chunk(styles, [answered("a.png"), failed("b.png", "timeout")]))
    assert set(made.captions) == {"a.png"}
    assert made.failures == {"b.png": {"reason": "timeout", "detail": "what happened to b.png"}}


@pytest.mark.slow
@settings(max_examples=20)
@given(items=st.dictionaries(st.text(max_size=8), st.sampled_from([None, *REASONS]), min_size=1, max_size=20))
def test_totals_add_up_whatever_failed(chunk, captions, styles, items):
    lines = [answered(name) if reason is None else failed(name, reason) for name, reason in items.items()]
    made = captions(chunk(styles, lines[::2]), chunk(styles, lines[1::2]))
    results, failures = made.captions, made.failures
    assert results.keys() | failures.keys() == items.keys()
    assert not results.keys() & failures.keys()
    assert {name: failure["reason"] for name, failure in failures.items()} == {
        name: reason for name, reason in items.items() if reason
    }
    counts = made.provenance["counts"]
    assert (counts["items"], counts["answered"], counts["failed"]) == (len(items), len(results), len(failures))
    assert sum(counts["failures_by_reason"].values()) == len(failures)


def test_a_chunk_of_other_settings_is_refused(chunk, captions, styles, outputs):
    good, foreign = chunk(styles, [answered("a.png")]), chunk(styles | {"max_tokens": 1}, [answered("b.png")])
    with pytest.raises(ResultError, match=f"{foreign} was made with other settings"):
        captions(good, foreign)
    assert outputs.captions is None


def test_a_chunk_that_is_not_whole_is_refused(chunk, captions, styles, outputs):
    short = chunk(styles, [answered("a.png")], items=2)
    with pytest.raises(ResultError, match=f"{short} holds 1 of its 2 items"):
        captions(short)
    assert outputs.captions is None


def test_nothing_is_written_where_a_later_chunk_is_refused(chunk, captions, styles, outputs):
    captions(chunk(styles, [answered("a.png", "before")]))
    with pytest.raises(ResultError, match="holds 1 of its 2 items"):
        captions(chunk(styles, [answered("a.png", "after")]), chunk(styles, [failed("b.png")], items=2))
    assert outputs.captions == {"a.png": "before"}
    assert outputs.failures == {}
    assert {path.name for path in outputs.folder.iterdir()} == CAPTION_FILES


def test_a_chunk_cut_within_a_line_is_refused(chunk, captions, styles):
    path = chunk(styles, [answered("a.png"), answered("b.png")])
    with open(path, "rb+") as file:
        file.truncate(len(file.read()) - 9)
    with pytest.raises(ResultError, match="holds 1 of its 2 items"):
        captions(path)


@pytest.mark.parametrize("content", ["", "\n", "[]\n", '{"id": "a.png"}\n', "<html>\n"])
def test_a_file_that_is_no_chunk_result_is_refused(tmp_path, captions, content):
    path = tmp_path / "foreign.jsonl"
    path.write_text(content)
    with pytest.raises(ResultError, match="is no chunk result"):
        captions(str(path))


@pytest.mark.parametrize("version", [1, FORMAT + 1])
def test_a_chunk_of_another_version_is_refused(chunk, captions, styles, version):
    with pytest.raises(ResultError, match="of this version"):
        captions(chunk(styles, [answered("a.jpg")], format=version))


def test_an_item_in_two_chunks_is_refused(chunk, captions, styles):
    paths = chunk(styles, [answered("a.png")]), chunk(styles, [failed("a.png")])
    folder = os.path.dirname(paths[0])
    with pytest.raises(ResultError, match=rf"'a\.png' is in two chunk results; delete {folder} and run"):
        captions(*paths)


def test_an_item_that_is_there_twice_in_one_chunk_is_refused(chunk, captions, styles):
    with pytest.raises(ResultError, match=r"'a\.png' is in two chunk results"):
        captions(chunk(styles, [answered("a.png"), answered("a.png"), answered("b.png")]))


def test_a_chunk_that_is_not_sorted_is_refused(chunk, captions, styles, outputs):
    path = chunk(styles, [answered("a.png"), answered("b.png"), answered("c.png")])
    with open(path, "r+") as file:
        header, *lines = file.readlines()
        file.seek(0)
        file.writelines([header, *lines[::-1]])
    with pytest.raises(ResultError, match=f"{path} is not sorted"):
        captions(path)
    assert outputs.captions is None


def test_final_files_are_replaced_whole(chunk, captions, styles, outputs):
    captions(chunk(styles, [answered("a.png")]))
    captions(chunk(styles, [answered("b.png")]))
    assert set(outputs.captions) == {"b.png"}
    assert {path.name for path in outputs.folder.iterdir()} == CAPTION_FILES


def test_what_killed_jobs_left_of_large_files_goes(chunk, answers, asked, tmp_path):
    remains = [tmp_path / ".chunk0.jsonl.k1_lled2", tmp_path / ".graded.jsonl.k1_lled2"]
    for path in remains:
        path.touch()
    answers([row("q1")], chunk(asked, [answered("q1", "A")]))
    assert not any(path.exists() for path in remains)


def test_provenance_says_how_a_file_was_made(chunk, captions, styles):
    lines = [answered("a.png"), answered("b.png", finish_reason="length"), failed("c.png")]
    lines.append(answered("d.png") | {"same_as": "b.png"})
    made = captions(chunk(styles, lines[:1]), chunk(styles, lines[1:])).provenance
    assert made["settings"] == styles
    assert made["dataset_path"] == "images"
    assert made["counts"] == {
        "items": 4,
        "answered": 3,
        "shared": 1,
        "truncated": 1,
        "failed": 1,
        "failures_by_reason": {"timeout": 1},
    }
    assert made["tokens"] == {"prompt": 20, "completion": 10}
    assert made["answered_by"] == [SERVER]
    assert made["servers"] == [{"url": "http://node:8000", "model": "tiny"}]
    assert made["clients"] == [{"host": "node", "job": "7"}]
    assert (made["started"], made["finished"]) == ("1970-01-01T00:16:40+00:00", "1970-01-01T00:33:21+00:00")


def test_statistics_tell_lengths_cuts_loops_and_copies(chunk, captions, styles):
    loop = "a red cat " * 4
    lines = [
        answered("a.png", "A cat."),
        answered("b.png", "A cat."),
        answered("c.png", loop, "length"),
        answered("d.png", "one two three four five"),
        answered("e.png", "<think>well</think>A cat."),
        {**answered("f.png", loop), "same_as": "c.png"},
        failed("g.png"),
    ]
    made = captions(chunk(styles, lines[:3]), chunk(styles, lines[3:])).statistics
    assert made["captions"] == 6
    assert made["characters"] == {"mean": pytest.approx((3 * 6 + 2 * 40 + 23) / 6), **lengths(6, 6, 40, 40)}
    assert made["words"] == {"mean": pytest.approx((3 * 2 + 2 * 12 + 5) / 6), **lengths(2, 2, 12, 12)}
    assert made["tokens"] == {"mean": 5.0, **lengths(5, 5, 5, 5)}
    assert made["truncated"] == {"captions": 1, "share": pytest.approx(1 / 6)}
    # the loop has 9 parts of four words, 3 of them different; the five words have 2
    assert made["repetition"] == {"captions": 3, "mean": pytest.approx(4 / 9), "max": pytest.approx(2 / 3)}
    assert made["duplicates"] == {"captions": 3, "share": pytest.approx(3 / 5), "most": 3}


def test_the_figures_of_a_text_are_those_that_its_job_took_if_it_took_any(chunk, captions, styles):
    taken = answered("b.png") | {"figures": {"words": 60, "repetition": 0.25}}
    made = captions(chunk(styles, [answered("a.png"), taken])).statistics
    assert made["words"] == {"mean": 31.0, **lengths(2, 2, 60, 60)}
    assert made["repetition"] == {"captions": 1, "mean": 0.25, "max": 0.25}


def lengths(least, median, p95, most):
    return {"min": least, "median": median, "p95": p95, "max": most}


@given(texts=st.lists(st.text("ab \ud83d", max_size=4), max_size=40))
def test_statistics_are_those_of_all_captions(texts):
    figures = CaptionFigures()
    for text in texts:
        figures.add(text, text_figures(text), answered("a", text)["answer"], shared=False)
    made = figures.statistics()
    copies = [count for count in Counter(texts).values() if count > 1]
    assert made["duplicates"]["captions"] == sum(copies)
    assert made["duplicates"]["most"] == max(copies, default=0)
    sizes = sorted(map(len, texts))
    assert (made["characters"] is None) == (not texts)
    if texts:
        assert made["characters"]["mean"] == pytest.approx(fmean(sizes))
        assert made["characters"]["median"] == sizes[(len(sizes) - 1) // 2]


def test_provenance_keeps_the_commit_of_a_data_set_of_the_hub(chunk, styles, outputs):
    commits = {"hf://datasets/lab/birds/test": "0" * 40}
    paths = map(outputs.path, ("captions", "failures", "provenance", "statistics"))
    merge_captions([chunk(styles, [answered("a.png")])], styles, "hf://datasets/lab/birds/test", *paths, commits)
    assert outputs.provenance["hub_commits"] == commits


def test_answers_of_two_versions_of_the_model_are_refused_with_what_to_do(
    chunk, captions, answers, styles, asked, outputs
):
    def by(name, revision):
        line = answered(name)
        return {**line, "answer": {**line["answer"], "server": {"url": "u", "model_revision": revision}}}

    told = "are of two versions of the model: local-1-a and local-1-b. Delete .* and run again"
    with pytest.raises(ResultError, match=told):
        captions(chunk(styles, [by("a.png", "local-1-a")]), chunk(styles, [by("b.png", "local-1-b")]))
    assert not Path(outputs.path("captions")).exists()
    lines = [by("q1", "local-1-a"), by("q2", "local-1-b")]
    with pytest.raises(ResultError, match=told):
        answers([row("q1"), row("q2")], chunk(asked, lines))
    assert not Path(outputs.path("results")).exists()


def test_an_answer_whose_model_nobody_could_tell_may_stand_beside_others(chunk, captions, styles):
    lines = [answered(f"{name}.png") for name in "abc"]
    servers = [{"url": "u", "model_revision": known} for known in ("local-1-a", "local-1", "unknown")]
    lines = [
        {**line, "answer": {**line["answer"], "server": server}} for line, server in zip(lines, servers, strict=True)
    ]
    assert len(captions(chunk(styles, lines)).captions) == 3


def test_the_data_sets_fingerprint_depends_on_the_items_alone(chunk, captions, styles):
    first = captions(chunk(styles, [answered("a.png"), answered("b.png")])).provenance["dataset_fingerprint"]
    other_chunks = (chunk(styles, [failed("b.png")]), chunk(styles, [answered("a.png", "else")]))
    assert captions(*other_chunks).provenance["dataset_fingerprint"] == first
    assert captions(chunk(styles, [answered("a.png")])).provenance["dataset_fingerprint"] != first


def test_the_fingerprint_of_contents_depends_on_the_answered_files_alone(chunk, captions, styles):
    def fingerprint(*lines):
        return captions(chunk(styles, lines)).provenance["content_fingerprint"]

    first = fingerprint(answered("a.png", "one"), answered("b.png", files=["d2", "d3"]), failed("c.png"))
    assert fingerprint(answered("a.png", "two"), answered("b.png", files=["d2", "d3"])) == first
    others = (
        fingerprint(answered("a.png"), answered("b.png", files=["d2", "d4"])),
        fingerprint(answered("a.png"), answered("b.png", files=["d2"])),
        fingerprint(answered("a.png"), answered("c.png", files=["d2", "d3"])),
        fingerprint(answered("a.png")),
    )
    assert first not in others


def test_provenance_tells_whether_a_file_is_of_these_chunks_and_rules(chunk, captions, answers, styles, asked, outputs):
    path = chunk(styles, [answered("a.png")])
    captions(path)
    assert is_made_from(outputs.path("provenance"), made_from(["elsewhere/" + os.path.basename(path)]))
    assert not is_made_from(outputs.path("provenance"), made_from([path, path]))
    path = chunk(asked, [answered("q1", "A")])
    made = answers([row("q1")], path, scoring="relaxed").provenance
    of_rules = [
        made_from([path], {**asdict(GradingRules("relaxed")), **changed}) for changed in ({}, {"scoring": "any"})
    ]
    assert [is_made_from(outputs.path("provenance"), each) for each in of_rules] == [True, False]
    del made["made_from"]  # as of an earlier version
    write_json(outputs.path("provenance"), made)
    assert is_made_from(outputs.path("provenance"), of_rules[1])


def test_provenance_of_answers_tells_one_question_file_from_another(chunk, answers, asked):
    def fingerprint(**changes):
        made = answers([row("q1", **changes)], chunk(asked, [answered("q1", "A")])).provenance["question_file"]
        assert made["path"] == "questions.parquet"
        return made["fingerprint"]

    assert fingerprint() == fingerprint() != fingerprint(category="other")


def test_a_record_has_every_promised_key(chunk, answers, asked):
    rows = [row("q1", images=["a.png", "b.png"])]
    assert answers(rows, chunk(asked, [answered("q1", "The answer is B.")])).results["q1"] == {
        "qid": "q1",
        "question": "Which?\nA. red\nB. blue",
        "choices": ["red", "blue"],
        "gt_answer": r"\boxed{A}",
        "gt_letter": "A",
        "predicted_letter": "B",
        "model_output": "The answer is B.",
        "is_correct": False,
        "score": 0.0,
        "category": "c",
        "source": "s",
        "image_paths": ["a.png", "b.png"],
        "num_images": 2,
        "graded_by": "cue",
        "is_parsed": True,
        "refused": False,
        "truncated": False,
    }


def test_metrics_have_every_promised_key(chunk, answers, asked):
    lines = [answered("q1", "A"), answered("q2", "The answer is A or B", finish_reason="length"), failed("q3")]
    rows = [row("q1"), row("q2", category="d"), row("q3")]
    made = answers(rows, chunk(asked, lines[:2]), chunk(asked, lines[2:]))
    metrics = made.metrics
    assert metrics["model"] == "tiny"
    assert metrics["total_questions"] == 3
    assert metrics["correct_answers"] == 1
    assert metrics["overall_accuracy"] == pytest.approx(1 / 3)
    assert metrics["question_path"] == "questions.parquet"
    assert metrics["dataset_path"] == "images"
    assert metrics["server_url"] == "http://node:8000"
    assert metrics["category_metrics"]["c"] == metrics["category_metrics"]["c"] | {
        "total": 2,
        "correct": 1,
        "accuracy": 0.5,
    }
    assert (metrics["unparsed_answers"], metrics["truncated_answers"], metrics["failed_questions"]) == (1, 1, 1)
    assert set(made.results) == {"q1", "q2"}
    assert set(made.failures) == {"q3"}


@pytest.mark.slow
@settings(max_examples=20)
@given(reasons=st.lists(st.sampled_from([None, *REASONS]), min_size=1, max_size=12))
def test_questions_add_up_to_the_metrics_totals(chunk, answers, asked, reasons):
    lines = [
        answered(f"q{number}") if reason is None else failed(f"q{number}", reason)
        for number, reason in enumerate(reasons)
    ]
    made = answers([row(line["id"]) for line in lines], chunk(asked, lines))
    assert len(made.results) + len(made.failures) == made.metrics["total_questions"] == len(reasons)
    assert made.metrics["failed_questions"] == len(made.failures)


def test_a_chunk_of_other_questions_settings_is_refused(chunk, answers, asked):
    with pytest.raises(ResultError, match="other settings"):
        answers([row("q1")], chunk(asked | {"max_model_len": 1}, [answered("q1")]))


@pytest.mark.parametrize("qid", ["q0", "q1", "q2", "q3", "q4"])
def test_a_question_without_a_line_is_refused(chunk, answers, asked, outputs, qid):
    path = chunk(asked, [answered(f"q{number}") for number in range(5) if f"q{number}" != qid])
    folder = os.path.dirname(path)
    with pytest.raises(ResultError, match=f"the question '{qid}' is in no chunk result; delete {folder} and run"):
        answers([row(f"q{number}") for number in range(5)], path)
    assert outputs.results is None


@pytest.mark.parametrize("qid", ["q0", "q1", "q2", "q3", "q4"])
def test_a_line_without_a_question_is_refused(chunk, answers, asked, outputs, qid):
    path, other = chunk(asked, [answered(f"q{number}") for number in range(5)]), chunk(asked, [answered("q5")])
    with pytest.raises(ResultError, match=f"^{path} has '{qid}', which is no present question; delete it and run"):
        answers([row(f"q{number}") for number in range(6) if f"q{number}" != qid], other, path)
    assert outputs.results is None


def test_a_row_that_could_not_be_asked_is_a_failure_and_counts(chunk, answers, asked):
    broken = row("q2", None, images=[], invalid="The column 'answer' is empty.")
    made = answers([row("q1"), broken, row("q3")], chunk(asked, [answered("q1", "A"), answered("q3", "A")]))
    assert made.failures == {"q2": {"reason": "invalid_question", "detail": "The column 'answer' is empty."}}
    assert set(made.results) == {"q1", "q3"}
    assert made.metrics["total_questions"] == made.provenance["counts"]["items"] == 3
    assert made.metrics["failures_by_reason"] == {"invalid_question": 1}
    assert made.metrics["overall_accuracy"] == pytest.approx(2 / 3)


def test_a_ground_truth_that_cannot_be_graded_is_a_failure_and_counts(chunk, answers, asked):
    lines = [answered("q1", "A"), answered("q2", "C"), failed("q3")]
    made = answers([row("q1"), row("q2", "C"), row("q3", "C")], chunk(asked, lines))
    assert made.failures["q2"] == {
        "reason": "ungradable_ground_truth",
        "detail": "The ground truth 'C' is no letter of the choices A to B.",
    }
    assert made.failures["q3"]["reason"] == "timeout"
    assert set(made.results) == {"q1"}
    assert made.metrics["total_questions"] == 3
    assert made.provenance["counts"]["failures_by_reason"] == {"timeout": 1, "ungradable_ground_truth": 1}
    assert made.provenance["tokens"] == {"prompt": 20, "completion": 10}


def test_an_answer_without_a_ground_truth_is_kept_and_not_graded(chunk, answers, asked):
    lines = [answered("q1", "A"), answered("q2", "The answer is B."), failed("q3"), answered("q4", "Well.")]
    rows = [row("q1"), row("q2", None), row("q3", None), row("q4", None, question="What?")]
    made = answers(rows, chunk(asked, lines))
    assert set(made.results) == {"q1", "q2", "q4"}
    record = made.results["q2"]
    assert (record["gt_answer"], record["is_correct"], record["score"]) == (None, None, None)
    assert (record["predicted_letter"], record["graded_by"], record["is_parsed"]) == ("B", "ungraded", True)
    metrics = made.metrics
    assert (metrics["total_questions"], metrics["ungraded_questions"]) == (4, 3)
    assert (metrics["overall_accuracy"], metrics["accuracy_over_answered"], metrics["mean_score"]) == (1, 1, 1)
    assert (metrics["answered_questions"], metrics["failed_questions"]) == (3, 1)
    assert metrics["category_metrics"]["c"]["ungraded"] == 3


def test_a_set_without_ground_truths_has_no_accuracy(chunk, answers, asked):
    made = answers([row("q1", None)], chunk(asked, [answered("q1", "A")]))
    assert (made.metrics["overall_accuracy"], made.metrics["overall_accuracy_interval_95"]) == (0, None)
    assert made.metrics["mean_score_interval_95"] is None


def test_ground_truths_that_come_later_are_told_as_such(chunk, answers, asked, outputs):
    made = chunk(asked, [answered("q1", "A")])
    answers([row("q1", None)], made)
    answers([row("q1")], made)
    assert outputs.flips["q1"]["before"]["is_correct"] is None
    assert outputs.flips["q1"]["now"]["is_correct"] is True


def test_metrics_count_the_rules_of_all_records(chunk, answers, asked):
    lines = [answered("q1", "A"), answered("q2", "The answer is B."), answered("q3", "I see."), answered("q4", "B")]
    made = answers([row(line["id"]) for line in lines], chunk(asked, lines))
    assert {qid: record["graded_by"] for qid, record in made.results.items()} == {
        "q1": "letter",
        "q2": "cue",
        "q3": "none",
        "q4": "letter",
    }
    assert made.metrics["graded_by"] == {"cue": 1, "letter": 2, "none": 1}


def test_a_fallback_is_reported_apart_and_makes_no_answer_right(chunk, answers, asked):
    unsure = [
        answered(qid, "Red or blue.") | {"fallback": answered(qid, letter)["answer"]}
        for qid, letter in (("q1", "A"), ("q2", "B"))
    ]
    refused = answered("q3", "Red or blue.") | {"fallback": {"failure": "request_rejected", "detail": "no"}}
    sure = answered("q4", "The answer is A.") | {"fallback": answered("q4", "B")["answer"]}
    rows, lines = [row(f"q{number}") for number in range(1, 5)], [*unsure, refused, sure]
    without = answers(rows, chunk(asked, lines)).metrics
    asked["fallback"] = "Which option is it?"
    made = answers(rows, chunk(asked, lines))
    assert made.metrics["fallback"] == {
        "asked": 3,
        "answered": 2,
        "correct": 1,
        "overall_accuracy_with_fallback": 0.5,
        "overall_accuracy_with_fallback_interval_95": wilson_interval(2, 4),
    }
    assert made.metrics == without | {"fallback": made.metrics["fallback"]}
    assert (without["correct_answers"], without["unparsed_answers"]) == (1, 3)
    found = {qid: (record.get("fallback_letter"), record["is_correct"]) for qid, record in made.results.items()}
    assert found == {"q1": ("A", False), "q2": ("B", False), "q3": (None, False), "q4": (None, True)}
    assert "fallback_letter" not in made.results["q4"]
    assert made.provenance["tokens"] == {"prompt": 70, "completion": 35}


@pytest.mark.parametrize(("text", "letter"), [(" B", "B"), ("B.", "B"), ("C", None), ("Based on", None), ("", None)])
def test_a_reply_to_the_fallback_that_is_no_letter_of_the_options_gives_none(chunk, answers, asked, text, letter):
    asked["fallback"] = "Which option is it?"
    unsure = answered("q1", "Red or blue.") | {"fallback": answered("q1", text)["answer"]}
    made = answers([row("q1")], chunk(asked, [unsure]))
    assert made.results["q1"]["fallback_letter"] == letter
    assert made.metrics["fallback"]["answered"] == (letter is not None)


def test_a_first_grading_flips_nothing(chunk, answers, asked, caplog):
    caplog.set_level("INFO")
    assert answers([row("q1")], chunk(asked, [answered("q1", "A")])).flips == {}
    assert "regraded" not in caplog.text


def grading(truth, letter, is_correct, rule):
    return {
        "gt_answer": truth,
        "predicted_letter": letter,
        "is_correct": is_correct,
        "score": float(is_correct),
        "graded_by": rule,
    }


def test_a_grading_of_the_same_outputs_says_what_flipped(chunk, answers, asked, caplog):
    caplog.set_level("INFO")
    said = {"q1": "A", "q2": "The answer is B.", "q3": "Hm.", "q4": "A", "q5": "A"}
    path = chunk(asked, [answered(qid, text) for qid, text in said.items()])
    answers([row(qid) for qid in said], path)
    truths = {"q1": "B", "q2": "B", "q3": "B", "q4": "A", "q5": "C"}
    made = answers([row(qid, truth) for qid, truth in truths.items()], path)
    assert made.flips == {
        "q1": {
            "before": grading(r"\boxed{A}", "A", True, "letter"),
            "now": grading("B", "A", False, "letter"),
        },
        "q2": {
            "before": grading(r"\boxed{A}", "B", False, "cue"),
            "now": grading("B", "B", True, "cue"),
        },
    }
    assert "regraded: 2 of 4 answers flipped (1 now right, 1 now wrong)" in caplog.text
    assert answers([row(qid, truth) for qid, truth in truths.items()], path).flips == {}


def test_a_new_output_is_an_answer_of_its_own_and_no_flip(chunk, answers, asked):
    answers([row("q1"), row("q2")], chunk(asked, [answered("q1", "A"), answered("q2", "A")]))
    made = answers([row("q1"), row("q3")], chunk(asked, [answered("q1", "B"), answered("q3", "B")]))
    assert made.flips == {}


def test_a_merge_that_fails_leaves_the_last_grading_for_the_next(chunk, answers, asked):
    path = chunk(asked, [answered("q1", "A")])
    answers([row("q1")], path)
    with pytest.raises(ResultError):
        answers([row("q1", "B"), row("q2")], path)
    assert answers([row("q1", "B")], path).flips.keys() == {"q1"}


@pytest.fixture
def gate(chunk, captions, styles, outputs):
    """Write a final file with this many items and failures, and check it against a limit."""

    def check(items, failures, limit, count_data_faults=True):
        lines = [failed(f"f{number}", REASONS[number % 2]) for number in range(failures)]
        lines += [answered(f"a{number}") for number in range(items - failures)]
        captions(chunk(styles, lines))
        check_failures(outputs.path("failures"), outputs.path("provenance"), limit, count_data_faults)

    return check


@pytest.mark.parametrize(
    ("items", "failures", "limit"), [(20, 0, 0), (20, 1, 0.05), (20, 20, 1), (100, 5, 0.05), (3, 0, 0.05)]
)
def test_as_many_failures_as_allowed_pass_the_gate(gate, items, failures, limit):
    gate(items, failures, limit)


@pytest.mark.parametrize(("items", "failures", "limit"), [(20, 1, 0), (20, 2, 0.05), (100, 6, 0.05), (1, 1, 0.99)])
def test_more_failures_than_allowed_do_not(gate, items, failures, limit):
    with pytest.raises(TooManyFailuresError):
        gate(items, failures, limit)


@pytest.mark.parametrize(
    ("items", "failures", "limit", "passes"),
    [(20, 2, 0.06, True), (20, 4, 0.06, False), (4, 2, 0.3, False), (2, 2, 0.99, False), (2, 2, 1, True)],
)
def test_a_fault_of_the_data_does_not_count_unless_asked(gate, items, failures, limit, passes):
    """Of the failures each second one is a missing image."""
    with nullcontext() if passes else pytest.raises(TooManyFailuresError):
        gate(items, failures, limit, count_data_faults=False)


def test_a_final_file_without_any_answer_fails_the_gate_whatever_the_fault(tmp_path):
    counts = {"items": 2, "failed": 2, "failures_by_reason": {"missing_image": 2}}
    write_json(tmp_path / "p.json", {"counts": counts})
    with pytest.raises(TooManyFailuresError, match=r"Done, but none of 2 images has an answer: 2 name missing files"):
        check_failures("f.json", str(tmp_path / "p.json"), 0.05)
    check_failures("f.json", str(tmp_path / "p.json"), 1)


@pytest.mark.parametrize(
    ("items", "reasons", "count_data_faults", "said"),
    [
        (
            60,
            {"invalid_question": 3, "missing_image": 2, "ungradable_ground_truth": 1},
            True,
            "Done, but 6 of 60 questions failed (limit 5 %): 4 need the question file corrected, 2 name missing files. "
            "List: f.json. Accept: client.max_failed_fraction: 0.1",
        ),
        (
            2,
            {"missing_image": 2},
            False,
            "Done, but none of 2 questions has an answer: 2 name missing files. Is qa.dataset_path the folder that the "
            "images' paths are relative to? List: f.json. Accept: client.max_failed_fraction: 1",
        ),
        (
            8,
            {"missing_caption": 1},
            False,
            "Done, but 1 of 8 questions failed (limit 5 %): 1 missing_caption. List: f.json. Accept: "
            "client.max_failed_fraction: 0.13",
        ),
        (
            60,
            {"path_outside_dataset": 1, "timeout": 20},
            True,
            "Done, but 21 of 60 questions failed (limit 5 %): 1 leads out of the data set, 20 timeout. "
            "`captionqa retry-failed` and a new run ask again for what may succeed. "
            "List: f.json. Accept: client.max_failed_fraction: 0.35",
        ),
        (
            62,
            {"missing_image": 2, "timeout": 4},
            False,
            "Done, but 4 of 60 questions failed (limit 5 %): 4 timeout. 2 more have faults of the data, which do not "
            "count (client.count_data_faults). `captionqa retry-failed` and a new run ask again for what may succeed. "
            "List: f.json. Accept: client.max_failed_fraction: 0.07",
        ),
    ],
)
def test_a_failed_gate_says_what_failed_and_what_helps(tmp_path, items, reasons, count_data_faults, said):
    counts = {"items": items, "failed": sum(reasons.values()), "failures_by_reason": reasons}
    write_json(tmp_path / "p.json", {"counts": counts, "question_file": {}})
    with pytest.raises(TooManyFailuresError) as error:
        check_failures("f.json", str(tmp_path / "p.json"), 0.05, count_data_faults)
    assert str(error.value) == said


def test_a_failed_gate_names_the_counts_and_the_file(gate, outputs):
    with pytest.raises(TooManyFailuresError) as error:
        gate(10, 3, 0.05)
    assert "3 of 10 images failed (limit 5 %): 1 names a missing file, 2 timeout." in str(error.value)
    assert outputs.path("failures") in str(error.value)
    assert outputs.failures.keys() == {"f0", "f1", "f2"}


@pytest.mark.parametrize(("tolerance", "correct"), [(0, 0), (0.05, 1)])
def test_the_relative_tolerance_reaches_the_grading_and_is_told(chunk, answers, asked, tolerance, correct):
    lines = [answered("q1", "The answer is 103.")]
    made = answers([row("q1", "100", question="How many?")], chunk(asked, lines), relative_tolerance=tolerance)
    assert made.metrics["correct_answers"] == correct
    assert made.metrics["relative_tolerance"] == tolerance


REASONED = "Let me see. It may be B.</think>\n\nThe answer is A."


@pytest.mark.parametrize(
    ("text", "parsed", "thinking", "letter"),
    [
        (REASONED, None, "Let me see. It may be B.", "A"),
        ("<think>B?</think>A", None, "B?", "A"),
        ("<think>It is B. The answer is B.", None, "It is B. The answer is B.", None),
        ("The answer is A.", "It may be B.", "It may be B.", "A"),
        ("", "The answer is B", "The answer is B", None),
        ("Not <think> but A. The answer is A.", None, None, None),
    ],
)
def test_reasoning_is_kept_apart_counted_and_not_graded(chunk, answers, asked, text, parsed, thinking, letter):
    line = answered("q1", text, "length" if letter is None else "stop")
    if parsed is not None:
        line["answer"]["reasoning"] = parsed
    made = answers([row("q1")], chunk(asked, [line]))
    record = made.results["q1"]
    assert (record.get("thinking"), record["model_output"], record["predicted_letter"]) == (thinking, text, letter)
    counted = {
        "answers": 1,
        "unfinished": int(letter is None),
        "characters": len(thinking or ""),
        "mean_characters": len(thinking or ""),
    }
    assert made.metrics.get("thinking") == (counted if thinking else None)
    assert not any(isinstance(number, bool) for number in made.metrics.get("thinking", {}).values())


def test_a_caption_is_what_follows_the_reasoning_and_without_that_a_failure(chunk, captions, styles):
    lines = [
        answered("a.png", "A dog?</think> A cat."),
        answered("b.png", "<think>A dog or", "length"),
        answered("c.png"),
    ]
    made = captions(chunk(styles, lines))
    assert made.captions == {"a.png": "A cat.", "c.png": "A cat."}
    assert made.failures["b.png"]["reason"] == "empty_output"
    assert "captions.max_tokens" in made.failures["b.png"]["detail"]
    counts = made.provenance["counts"]
    assert (counts["items"], counts["answered"], counts["failed"]) == (3, 2, 1)
