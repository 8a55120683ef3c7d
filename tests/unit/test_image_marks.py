"""Numbered marks of images: image N goes to the place of its mark."""

import pytest
from captionqa.config.prompts import place_images
from captionqa.dataset.image_marks import MissingImageError, in_order_of_marks


@pytest.mark.parametrize(
    ("text", "images", "wanted"),
    [
        ("What?", ["a", "b"], ["a", "b", "What?"]),
        ("<image>What?", ["a", "b"], ["a", "b", "What?"]),
        ("<image 1> and <image 2>?", ["a", "b"], ["a", " and ", "b", "?"]),
        ("Is <image 2> before <image 1>?", ["a", "b"], ["Is ", "b", " before ", "a", "?"]),
        ("Is <Image_2> or <image1>?", ["a", "b"], ["Is ", "b", " or ", "a", "?"]),
        ("Only <image 2>?", ["a", "b", "c"], ["a", "c", "Only ", "b", "?"]),
        ("<image> is <image 1>", ["a", "b"], ["b", " is ", "a"]),
        ("<image 1>: as in <image 1>?", ["a"], ["a", ": as in <image 1>?"]),
        ("<image 3>?", ["a", None, "c"], ["a", "c", "?"]),
    ],
)
def test_an_image_goes_to_the_place_of_its_mark(text, images, wanted):
    assert place_images(*in_order_of_marks(text, images)) == wanted


@pytest.mark.parametrize(
    ("text", "images"), [("<image 3>?", ["a", "b"]), ("<image 2>?", ["a", None]), ("<image 0>", ["a"])]
)
def test_a_mark_of_no_image_is_named(text, images):
    with pytest.raises(MissingImageError, match=r"names <image \d>, and the row has no such image"):
        in_order_of_marks(text, images)
