"""What the model is asked: the styles' own words, and images in their places."""

import pytest
from captionqa.config.prompts import place_images, style_text


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("SIMPLE", "Describe this image in detail."),
        ("SHORT", "Write a very short caption for the given image."),
        (
            "LONG",
            "Write a very long and detailed caption describing the given image as comprehensively as possible.",
        ),
    ],
)
def test_the_built_in_styles_have_the_promised_words(style, text):
    assert style_text(style, {}) == text


def test_the_users_prompts_win_over_the_built_in_ones():
    assert style_text("SIMPLE", {"SIMPLE": "Say what you see."}) == "Say what you see."
    assert style_text("POEM", {"POEM": "Write a poem."}) == "Write a poem."


@pytest.mark.parametrize(
    ("text", "urls", "wanted"),
    [
        ("What?", ["1"], ["1", "What?"]),
        ("What?", [], ["What?"]),
        ("Which?", ["1", "2"], ["1", "2", "Which?"]),
        ("Is <image> like <image>?", ["1", "2"], ["Is ", "1", " like ", "2", "?"]),
        ("<image><image> Same?", ["1", "2"], ["1", "2", " Same?"]),
        ("Is it in <image>?", ["1", "2"], ["1", "Is it in ", "2", "?"]),
    ],
)
def test_images_stand_where_their_marks_are_and_else_first(text, urls, wanted):
    assert place_images(text, urls) == wanted


def test_more_marks_than_images_is_an_error():
    with pytest.raises(ValueError, match="2 <image> marks for 1 images"):
        place_images("<image> and <image>", ["1"])
