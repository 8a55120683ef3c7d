"""A chunk's items are read one after another, and a long question that many of them ask is kept once."""

import tracemalloc

import pytest
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.item_stream import ItemStream
from captionqa.files import json_line

MB = 2**20


@pytest.fixture
def traced():
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def entry(number, text):
    return {"id": f"q{number}", "question": text, "images": ["a.png"], "stamps": [[1, 2]]}


@pytest.mark.slow
def test_a_long_question_that_is_asked_often_is_in_memory_once(tmp_path, traced):
    path = tmp_path / "items.jsonl"
    texts = ["x" * MB, "y" * MB]
    with open(path, "w") as file:
        file.writelines(json_line(entry(number, texts[number % 2])) for number in range(100))
    stream = ItemStream(path)
    entries = [entry for _, _, entries in stream.segments() for entry in entries]
    assert [entry["question"] for entry in entries] == texts * 50
    assert len(stream) == 100
    assert traced() < 20 * MB


@pytest.mark.slow
def test_long_questions_that_differ_are_in_memory_one_after_another(tmp_path, traced):
    path = tmp_path / "items.jsonl"
    with open(path, "w") as file:
        file.writelines(json_line(entry(number, f"{number}" + "x" * MB)) for number in range(100))
    for _, count, entries in ItemStream(path).segments():
        assert sum(1 for _ in entries) == count == 100
    assert traced() < 30 * MB


@pytest.mark.slow
def test_a_chunk_of_one_long_question_takes_no_more_memory_for_more_items(images, server, jobs, traced):
    images.add("a.png")
    (job,) = jobs()
    with open(job.items, "w") as file:
        file.writelines(json_line(entry(number, "x" * MB)) for number in range(100))
    ChunkRun(job).run()
    assert len(job.result.read_text().splitlines()) == 101
    assert traced() < 60 * MB
