"""Versions of a model: what tells them apart, and what may be the same as long as nobody knows more."""

import pytest
from captionqa.config.model_versions import completed, differences, may_be_of, with_revision

KNOWN = {"source": "m", "options": {"--seed": "1"}, "files": {"a.jinja": "d1"}, "revision": "local-1-a", "root": None}
OPEN = {"source": "m", "options": None, "files": {}, "revision": None, "root": None}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": "other"}, "it was m, is other"),
        ({"revision": "local-1-b"}, "its revision was local-1-a, is local-1-b"),
        ({"options": {"--seed": "2"}}, "--seed was 1, is 2"),
        ({"options": {}}, "--seed was 1, is not set"),
        ({"options": {"--seed": "1", "--trust-remote-code": ""}}, "--trust-remote-code was not set, is set"),
        ({"files": {"a.jinja": "d2"}}, "the content of a.jinja changed"),
    ],
    ids=str,
)
def test_each_difference_is_said_in_words(change, words):
    (said,) = differences(KNOWN, {**KNOWN, **change})
    assert said.startswith(words)


def test_another_root_of_an_existing_server_is_a_difference():
    assert differences({**OPEN, "root": "/a"}, {**OPEN, "root": "/b"})
    assert not differences({**OPEN, "root": "/a"}, OPEN)


def test_what_is_not_known_may_be_the_same_and_is_filled_in():
    assert not differences(KNOWN, OPEN)
    assert not differences(OPEN, KNOWN)
    assert completed(OPEN, KNOWN) == KNOWN == completed(KNOWN, OPEN)
    # as captionqa 0.1 recorded the revision of a folder, by the sizes of its files
    assert not differences({**KNOWN, "revision": "local-1"}, KNOWN)
    assert completed({**KNOWN, "revision": "local-1"}, KNOWN) == KNOWN
    assert with_revision(OPEN, "unknown") == OPEN
    assert with_revision(OPEN, "c0ffee")["revision"] == "c0ffee"


def test_a_commit_may_have_several_names():
    main = {**OPEN, "options": {}, "revision": "c0ffee"}
    assert not differences(main, {**main, "options": {"--revision": "c0ffee"}})
    assert differences({**main, "revision": None}, {**main, "options": {"--revision": "v2"}, "revision": None})


@pytest.mark.parametrize(
    ("server", "counts"),
    [
        ({"model_revision": "local-1-a"}, True),
        ({"model_revision": "local-1"}, True),
        ({"model_revision": "unknown"}, True),
        ({}, True),
        ({"model_revision": "local-1-b"}, False),
        ({"model_revision": "local-2"}, False),
    ],
    ids=str,
)
def test_an_answer_counts_unless_what_it_keeps_of_its_server_says_otherwise(server, counts):
    assert may_be_of(KNOWN, server) is counts
    assert may_be_of(None, server)


def test_an_answer_of_another_root_does_not_count():
    assert not may_be_of({**OPEN, "root": "/a"}, {"model_root": "/b"})
    assert may_be_of({**OPEN, "root": "/a"}, {"model_root": "unknown"})
