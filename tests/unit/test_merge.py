"""Merging: totals add up, and what was made under other settings or is not whole is refused."""

import pytest
from captionqa.errors import ResultError, TooManyFailuresError
from captionqa.files import json_line, read_json
from captionqa.merge import check_failures, merge_captions, merge_qa
from captionqa.settings import caption_settings, fingerprint, qa_settings
from hypothesis import given, settings
from hypothesis import strategies as st

SERVER = {"url": "http://node:8000", "generation": 1, "vllm": "1.2"}
REASONS = ["timeout", "missing_image", "empty_output"]


def answered(name, text="A cat.", finish_reason="stop", **more):
    tokens = {"prompt_tokens": 10, "completion_tokens": 5}
    answer = {"text": text, "finish_reason": finish_reason, **tokens, "server": SERVER}
    return {"id": name, "answer": answer, **more}


def failed(name, reason="timeout", **more):
    return {"id": name, "failure": reason, "detail": f"what happened to {name}", **more}


def row(qid, answer=r"\boxed{A}", **changes):
    question = "Which?\nA. red\nB. blue"
    known = {"id": qid, "question": question, "answer": answer, "images": ["a.png"], "category": "c", "source": "s"}
    return known | changes


class Outputs:
    """The files that a merge writes."""

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
    """Write a chunk result."""
    paths = []

    def write(settings, lines, **changes):
        header = {
            "chunk": f"{len(paths)}-of-9",
            "fingerprint": fingerprint(settings),
            "settings": settings,
            "items": len(lines),
            "started": 1000.0 + len(paths),
            "finished": 2000.0 + len(paths),
            "client": {"host": "node", "job": "7"},
            "servers": [{"url": "http://node:8000", "model": "tiny"}],
        }
        paths.append(str(tmp_path / f"chunk{len(paths)}.jsonl"))
        with open(paths[-1], "w") as file:
            file.write(json_line(header | changes))
            file.writelines(map(json_line, lines))
        return paths[-1]

    return write


@pytest.fixture
def captions(outputs, styles):
    def merge(*chunks):
        merge_captions(
            chunks, styles, "images", outputs.path("captions"), outputs.path("failures"), outputs.path("provenance")
        )
        return outputs

    return merge


@pytest.fixture
def answers(outputs, asked):
    def merge(*chunks):
        kinds = ("results", "metrics", "failures", "provenance")
        merge_qa(chunks, asked, "questions.parquet", "images", *map(outputs.path, kinds))
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


def test_an_item_in_two_chunks_is_refused(chunk, captions, styles):
    with pytest.raises(ResultError, match=r"'a\.png' is in two chunk results"):
        captions(chunk(styles, [answered("a.png")]), chunk(styles, [failed("a.png")]))


def test_final_files_are_replaced_whole(chunk, captions, styles, outputs):
    captions(chunk(styles, [answered("a.png")]))
    captions(chunk(styles, [answered("b.png")]))
    assert set(outputs.captions) == {"b.png"}
    assert {path.name for path in outputs.folder.iterdir()} == {"captions.json", "failures.json", "provenance.json"}


def test_provenance_says_how_a_file_was_made(chunk, captions, styles):
    lines = [answered("a.png"), answered("b.png", finish_reason="length"), failed("c.png")]
    made = captions(chunk(styles, lines[:1]), chunk(styles, lines[1:])).provenance
    assert made["settings"] == styles
    assert made["dataset_path"] == "images"
    assert made["counts"] == {
        "items": 3,
        "answered": 2,
        "truncated": 1,
        "failed": 1,
        "failures_by_reason": {"timeout": 1},
    }
    assert made["tokens"] == {"prompt": 20, "completion": 10}
    assert made["answered_by"] == [SERVER]
    assert made["servers"] == [{"url": "http://node:8000", "model": "tiny"}]
    assert made["clients"] == [{"host": "node", "job": "7"}]
    assert (made["started"], made["finished"]) == ("1970-01-01T00:16:40+00:00", "1970-01-01T00:33:21+00:00")


def test_the_data_sets_fingerprint_depends_on_the_items_alone(chunk, captions, styles):
    first = captions(chunk(styles, [answered("a.png"), answered("b.png")])).provenance["dataset_fingerprint"]
    other_chunks = (chunk(styles, [failed("b.png")]), chunk(styles, [answered("a.png", "else")]))
    assert captions(*other_chunks).provenance["dataset_fingerprint"] == first
    assert captions(chunk(styles, [answered("a.png")])).provenance["dataset_fingerprint"] != first


def test_a_record_has_every_promised_key(chunk, answers, asked):
    line = answered("q1", "The answer is B.", row=row("q1", images=["a.png", "b.png"]))
    assert answers(chunk(asked, [line])).results["q1"] == {
        "qid": "q1",
        "question": "Which?\nA. red\nB. blue",
        "choices": ["red", "blue"],
        "gt_answer": r"\boxed{A}",
        "gt_letter": "A",
        "predicted_letter": "B",
        "model_output": "The answer is B.",
        "is_correct": False,
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
    lines = [
        answered("q1", "A", row=row("q1")),
        answered("q2", "The answer is A or B", finish_reason="length", row=row("q2", category="d")),
        failed("q3", row=row("q3")),
    ]
    made = answers(chunk(asked, lines[:2]), chunk(asked, lines[2:]))
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


@settings(max_examples=20)
@given(reasons=st.lists(st.sampled_from([None, *REASONS]), min_size=1, max_size=12))
def test_questions_add_up_to_the_metrics_totals(chunk, answers, asked, reasons):
    lines = [
        answered(f"q{number}", row=row(f"q{number}")) if reason is None else failed(f"q{number}", reason, row=row("q"))
        for number, reason in enumerate(reasons)
    ]
    made = answers(chunk(asked, lines))
    assert len(made.results) + len(made.failures) == made.metrics["total_questions"] == len(reasons)
    assert made.metrics["failed_questions"] == len(made.failures)


def test_a_chunk_of_other_questions_settings_is_refused(chunk, answers, asked):
    with pytest.raises(ResultError, match="other settings"):
        answers(chunk(asked | {"max_model_len": 1}, [answered("q1", row=row("q1"))]))


@pytest.fixture
def gate(chunk, captions, styles, outputs):
    """Check a final file of so many items and failures against a limit."""

    def check(items, failures, limit):
        lines = [failed(f"f{number}", REASONS[number % 2]) for number in range(failures)]
        lines += [answered(f"a{number}") for number in range(items - failures)]
        captions(chunk(styles, lines))
        check_failures(outputs.path("failures"), outputs.path("provenance"), limit)

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


def test_a_failed_gate_names_the_counts_and_the_file(gate, outputs):
    with pytest.raises(TooManyFailuresError) as error:
        gate(10, 3, 0.05)
    assert "3 of 10 items failed (1 missing_image, 2 timeout)" in str(error.value)
    assert outputs.path("failures") in str(error.value)
    assert outputs.failures.keys() == {"f0", "f1", "f2"}


@pytest.mark.parametrize(("tolerance", "correct"), [(0, 0), (0.05, 1)])
def test_the_relative_tolerance_reaches_the_grading(chunk, outputs, asked, tolerance, correct):
    lines = [answered("q1", "The answer is 103.", row=row("q1", "100", question="How many?"))]
    kinds = ("results", "metrics", "failures", "provenance")
    paths = map(outputs.path, kinds)
    merge_qa([chunk(asked, lines)], asked, "q.parquet", "images", *paths, relative_tolerance=tolerance)
    assert outputs.metrics["correct_answers"] == correct
