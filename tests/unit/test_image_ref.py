"""The texts by which plans name images."""

import pytest
from captionqa.dataset.image_ref import CellRef, DataRef, FileRef, ImageRef, LineRef, MemberRef
from captionqa.dataset.places import BLOCK_ROWS, entry_place, place, question_place
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(min_size=1)
NUMBERS = st.integers(0, 10**12)
INDEXES = st.none() | st.integers(0, 99)
REFERENCES = st.one_of(
    st.builds(FileRef, TEXTS),
    st.builds(CellRef, TEXTS, NUMBERS, NUMBERS, TEXTS, INDEXES),
    st.builds(MemberRef, TEXTS, NUMBERS, NUMBERS, TEXTS),
    st.builds(LineRef, TEXTS, NUMBERS, NUMBERS, TEXTS, INDEXES),
    st.builds(DataRef, TEXTS.map(lambda text: f"data:image/png;base64,{text}")),
)


@given(REFERENCES)
def test_a_reference_is_read_back_from_its_text(reference):
    assert ImageRef.parse(str(reference)) == reference


@given(REFERENCES)
def test_the_name_of_a_file_is_never_taken_for_another_kind(reference):
    name = str(reference)
    assert ImageRef.parse(str(FileRef(name))) == FileRef(name)


@pytest.mark.parametrize(
    "name", ["a.png", "a/b c.png", "a#1.png", "#file/a.png", "x.parquet#group=0", "d:a", "é%23.png"]
)
def test_the_text_of_an_ordinary_file_is_its_path(name):
    assert str(FileRef(name)) == name


def test_rows_that_are_decoded_together_share_a_place():
    def cell(container, row):
        return str(CellRef(container, 3, row, "image"))

    near = [entry_place({"id": str(row), "images": [cell("a.parquet", row)], "stamps": []}) for row in (0, 1, 2)]
    assert len(set(near)) == 1
    assert entry_place({"id": "a", "images": [cell("a.parquet", BLOCK_ROWS)], "stamps": []}) != near[0]
    assert question_place([cell("a.parquet", 1), "b.png"], "q") == near[0]
    assert entry_place({"id": "q", "question": "?", "images": [cell("a.parquet", 2)], "stamps": []}) == near[0]


def test_an_image_that_is_read_without_its_neighbours_has_the_place_of_its_name():
    for reference in (MemberRef("a.tar", 0, 5, "a.png"), CellRef("a.arrow", 3, 7, "image"), FileRef("a.png")):
        assert entry_place({"id": "a", "images": [str(reference)], "stamps": []}) == place("a")
