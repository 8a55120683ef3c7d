"""Captions by a JSON schema: refused before a run, asked for, validated, read by questions and exported."""

import json
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest
from captionqa.client.chunk_result import read_chunk
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.schema_answer import check_schema_answer, readable
from captionqa.config.check import check
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings, fingerprint
from captionqa.dataset.planning import plan_task
from captionqa.errors import ConfigError, ItemFailure, ResultError
from exported import Captions

SCHEMA = {
    "type": "object",
    "properties": {
        "shape": {"$ref": "#/$defs/shape"},
        "colour": {"enum": ["red", "blue"]},
        "count": {"type": ["integer", "null"]},
        "size": {"type": "number"},
        "filled": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "parts": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["shape", "colour"],
    "additionalProperties": False,
    "$defs": {"shape": {"enum": ["circle", "square"]}},
}
FITTING = '{"shape": "circle", "colour": "red"}'


@pytest.fixture
def write_schema(tmp_path):
    """Write a file of a schema; returns what the configuration says of it."""

    def write(content=SCHEMA, name="schema.json"):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return {"captions": {"schema": str(tmp_path / name)}}

    return write


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ('{"type": ', "s.json", "s.json is no JSON schema: Expecting value"),
        ("type: object: x", "s.yaml", "s.yaml line 1: 'type: object: x' needs quotes"),
        ("type: object\ndefault: 2020-01-01", "s.yaml", "s.yaml is no JSON schema: .*date is not JSON serializable"),
        (
            "type: object\nproperties: {no: {type: string}}",
            "s.yaml",
            "s.yaml has False where a text belongs: YAML takes",
        ),
        (
            "type: object\nproperties: {a: {type: string, enum: ['?', yes]}}",
            "s.yaml",
            "s.yaml has True where a text belongs",
        ),
        ("type: object\nproperties: {a: {enum: [unclear, no]}}", "s.yaml", "s.yaml has False where a text belongs"),
        (
            "type: object\nproperties: {a: {type: [string, 'null'], enum: [yes, null]}}",
            "s.yaml",
            "s.yaml has True where a text belongs",
        ),
        ([], "s.json", "needs `type: object` and `properties` at its top"),
        ({"type": "string"}, "s.json", "needs `type: object` and `properties` at its top"),
        (
            {"type": "object", "properties": {"a": {"type": "txt"}}},
            "s.json",
            r"s.json is no valid JSON schema: at properties.a.type: 'txt' is not valid",
        ),
        (SCHEMA | {"$defs": {}}, "s.json", r"refers to '#/\$defs/shape', which is not in it"),
        (
            {"type": "object", "properties": {"a": {"$ref": "https://example.org/a.json"}}},
            "s.json",
            "refers to 'https://example.org/a.json', which is not in it",
        ),
        (
            {"type": "object", "properties": {"a": {"$dynamicRef": "https://example.org/a.json"}}},
            "s.json",
            "refers to 'https://example.org/a.json', which is not in it",
        ),
    ],
)
def test_what_is_no_schema_is_refused_before_a_run(make_config, write_schema, content, name, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_config(write_schema(content, name))
    assert str(caught.value).startswith("captions.schema: ")
    assert str(caught.value).count("\n") == 0


def test_booleans_that_are_meant_stay(make_config, write_schema):
    content = "type: object\nproperties: {a: {enum: [true, false]}, b: {type: [string, boolean], enum: [some, no]}}"
    read = json.loads(make_config(write_schema(content, "s.yaml")).captions.schema_text)
    assert [read["properties"][name]["enum"] for name in "ab"] == [[True, False], ["some", False]]


def test_a_missing_schema_is_named(make_config):
    with pytest.raises(ConfigError, match=r"captions.schema: there is no file no/schema.json; name a JSON schema"):
        make_config({"captions": {"schema": "no/schema.json"}})


def test_jobs_have_the_schema_as_it_was_when_the_run_began(raw_config, schema, write_schema, tmp_path):
    raw = raw_config(write_schema())
    asked = caption_settings(check(raw, schema), "tiny", "SIMPLE")
    (tmp_path / "schema.json").unlink()
    assert caption_settings(Config.of(json.loads(json.dumps(raw))), "tiny", "SIMPLE") == asked


def test_what_the_schema_says_decides_the_answers_and_how_it_is_written_does_not(make_config, write_schema):
    def of(changes):
        return caption_settings(make_config(changes), "tiny", "SIMPLE")

    plain, asked = of({}), of(write_schema())
    assert "schema" not in plain
    assert {key: value for key, value in asked.items() if key != "schema"} == plain
    assert json.loads(asked["schema"]) == SCHEMA
    assert fingerprint(of(write_schema(json.dumps(SCHEMA, indent=2), "same.yaml"))) == fingerprint(asked)
    properties = dict(reversed(SCHEMA["properties"].items()))  # the model writes them in this order
    assert fingerprint(of(write_schema(SCHEMA | {"properties": properties}))) != fingerprint(asked)


@pytest.fixture
def caption_by(publish, scripted, images):
    """Have a server that gives these (text, finish_reason) in turn; returns as many images."""

    def answer(*given):
        def body(text, reason):
            choice = {"message": {"content": text}, "finish_reason": reason}
            return (200, {}, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})

        scripted.answers = [body(*each) for each in given]
        publish(scripted.url)
        names = [f"{number}.png" for number in range(len(given))]
        images.add(*names)
        return names

    return answer


def run_chunk(job):
    ChunkRun(job).run()
    return {line["id"]: line for line in read_chunk(job.result)[1]}


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ('{"shape": "cir', "length", r"truncated at captions.max_tokens \(256\); raise it \(the answer is no JSON"),
        ("A red circle.", "stop", "the answer is no JSON .*: A red circle."),
        ('{"shape": "circle", "colour": "pink"}', "stop", r"at colour: 'pink' is not one of \['red', 'blue'\]"),
        ('{"shape": "circle"}', "stop", "'colour' is a required property"),
        ('{"shape": "circle", "colour": "red", "size": NaN}', "stop", "NaN is no value of JSON"),
        (f"```json\n{FITTING}\n```", "stop", "the answer is no JSON"),
    ],
)
def test_an_answer_that_does_not_fit_is_a_failure_and_asked_once(
    caption_by, jobs, scripted, write_schema, journal_ids, text, reason, detail
):
    names = caption_by((text, reason), (FITTING, "stop"))
    (job,) = jobs(changes={**write_schema(), "client": {"concurrency": 1}})
    lines = run_chunk(job)
    (failed,) = [line for line in lines.values() if "failure" in line]
    assert failed["failure"] == "schema_mismatch"
    assert re.search(detail, failed["detail"])
    (answered,) = [line for line in lines.values() if "answer" in line]
    assert answered["answer"]["text"] == FITTING
    assert len(scripted.requests) == len(names) == len(lines)
    assert journal_ids(job) == [answered["id"]]


def test_an_answer_that_is_nested_too_deeply_is_a_failure_and_ends_no_job():
    schema = {"type": "object", "properties": {"parts": {"type": "array", "items": {"$ref": "#"}}}}
    answer = {"text": '{"parts": [' * 300 + "]}" * 300, "finish_reason": "stop"}
    with pytest.raises(ItemFailure, match="nested too deeply") as caught:
        check_schema_answer(answer, {"schema": json.dumps(schema)})
    assert caught.value.reason == "schema_mismatch"


def test_the_schema_goes_with_each_request_in_its_own_order(caption_by, jobs, scripted, write_schema):
    caption_by((FITTING, "stop"))
    run_chunk(jobs(changes=write_schema())[0])
    ((_, body),) = scripted.requests
    assert body["response_format"]["type"] == "json_schema"
    sent = body["response_format"]["json_schema"]["schema"]
    assert (sent, list(sent["properties"])) == (SCHEMA, list(SCHEMA["properties"]))


def test_a_cut_answer_that_is_whole_all_the_same_is_a_truncated_answer(caption_by, jobs, write_schema):
    (name,) = caption_by((f"<think>a circle?</think>{FITTING}", "length"))
    line = run_chunk(jobs(changes=write_schema())[0])[name]
    assert line["answer"]["finish_reason"] == "length"


def test_questions_read_such_captions_as_text(caption_by, jobs, make_config, scripted, write_schema):
    (name,) = caption_by((FITTING, "stop"))
    rows = [("q1", "What is it?", name, "A")]
    frame = pd.DataFrame(rows, columns=["qid", "question", "image", "answer"])
    frame.to_parquet(make_config().qa.question_path)
    changes = {**write_schema(), "qa": {"contexts": ["caption"]}}
    config = make_config(changes)
    for task in ("qa", "captions"):
        plan_task(config, Layout(config.output_dir, "tiny"), task)
    run_chunk(jobs("captions", changes=changes)[0])
    (job,) = jobs("qa", changes=changes, context="_caption_simple")
    scripted.answers = scripted.answers[-1:]
    run_chunk(job)
    asked = scripted.requests[-1][1]
    assert "response_format" not in asked
    assert "shape: circle; colour: red" in asked["messages"][0]["content"][0]["text"]


def test_a_readable_text_of_nested_values():
    value = {"a": [1, 2.5], "b": {"c": True, "d": None}, "e": [], "f": [{"g": "x"}, {"g": False}]}
    assert readable(json.dumps(value)) == "a: 1, 2.5; b: (c: yes; d: none); e: none; f: (g: x), (g: no)"


VALUES = {
    "shape": "circle",
    "colour": "red",
    "count": 3,
    "size": 2,
    "filled": True,
    "tags": ["a", "b"],
    "parts": [{"n": 1}],
}


@pytest.fixture
def captions_of(tmp_path, images, make_config, write_schema):
    def make(value):
        images.add("a.png", "b.png")
        texts = {"a.png": json.dumps(value), "b.png": FITTING}
        schema = write_schema()["captions"]["schema"]
        return Captions(tmp_path, make_config, images.path, text=texts.__getitem__, schema=schema)

    return make


def test_properties_are_columns_of_tables(captions_of):
    captions = captions_of(VALUES)
    columns = [f"caption.{name}" for name in VALUES]
    (path,) = captions.export("parquet").glob("*.parquet")
    table = pq.read_table(path)
    assert [str(table.schema.field(name).type) for name in columns] == [
        *("string", "string", "int64", "double", "bool", "list<element: string>", "string")
    ]
    full, sparse = table.select(columns).to_pylist()
    assert list(full.values()) == ["circle", "red", 3, 2.0, True, ["a", "b"], '[{"n": 1}]']
    assert list(sparse.values()) == ["circle", "red", None, None, None, None, None]
    assert table["caption"].to_pylist() == [json.dumps(VALUES), FITTING]
    (path,) = captions.export("jsonl").glob("*.jsonl")
    first, _ = map(json.loads, path.read_text().splitlines())
    assert {name: first[name] for name in columns} == {f"caption.{name}": value for name, value in VALUES.items()}


def test_a_number_that_no_table_holds_is_named(captions_of):
    with pytest.raises(ResultError, match=r"caption.count: .* parquet cannot hold .*; give the property a maximum"):
        captions_of(VALUES | {"count": 10**30}).export("parquet")
