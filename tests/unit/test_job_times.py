"""Job times: overlapping spans count once, and a job keeps the span of each attempt."""

import time

import pytest
from captionqa.run.job_times import begin_job_time, clip, minus, read_job_times, record_job_time, seconds, union
from hypothesis import given
from hypothesis import strategies as st

MOMENTS = st.integers(0, 40)
SPANS = st.lists(st.tuples(MOMENTS, MOMENTS), max_size=8)


def moments(spans):
    """The whole numbers of time that spans of whole numbers cover."""
    return {moment for start, end in spans for moment in range(start, end)}


@pytest.mark.parametrize(
    ("spans", "merged"),
    [
        ([], []),
        ([(3, 3), (5, 4)], []),
        ([(4, 6), (1, 2)], [(1, 2), (4, 6)]),
        ([(1, 4), (2, 3), (4, 5)], [(1, 5)]),
    ],
)
def test_the_union_has_no_overlaps(spans, merged):
    assert union(spans) == merged


@given(SPANS, SPANS)
def test_what_is_left_is_in_none_of_the_others(spans, others):
    left = minus(spans, others)
    assert moments(left) == moments(spans) - moments(others)
    assert seconds(left) == len(moments(left))


@given(SPANS, st.tuples(MOMENTS, MOMENTS))
def test_clipping_keeps_what_is_within(spans, within):
    assert moments(clip(spans, within)) == moments(spans) & moments([within])


def test_a_job_keeps_when_its_tries_were(tmp_path):
    before = time.time()
    record_job_time(tmp_path / "spans", "qa_chunk_0-of-2", before - 5)
    record_job_time(tmp_path / "spans", "qa_chunk_0-of-2", before - 2)
    record_job_time(tmp_path / "spans", "merge_qa", before - 1)
    found = read_job_times(tmp_path / "spans", before + 9, {})
    assert found.keys() == {"qa_chunk_0-of-2", "merge_qa"}
    assert [start for start, _ in found["qa_chunk_0-of-2"]] == [before - 5, before - 2]
    assert all(before <= end <= time.time() for spans in found.values() for _, end in spans)


def test_a_try_that_has_not_ended_lasts_until_the_last_sign_of_it(tmp_path):
    begin_job_time(tmp_path, "qa_chunk_0-of-2", 1.0)  # killed
    begin_job_time(tmp_path, "qa_chunk_0-of-2", 20.0)
    begin_job_time(tmp_path, "qa_chunk_1-of-2", 21.0)
    found = read_job_times(tmp_path, 50.0, {"qa_chunk_0-of-2": 30.0})
    assert found == {"qa_chunk_0-of-2": [(20.0, 30.0)], "qa_chunk_1-of-2": [(21.0, 50.0)]}
    record_job_time(tmp_path, "qa_chunk_0-of-2", 20.0)
    (span,) = read_job_times(tmp_path, 50.0, {"qa_chunk_0-of-2": 30.0})["qa_chunk_0-of-2"]
    assert span[1] > 50
