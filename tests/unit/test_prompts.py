"""What the model is asked: the styles' own words, and images in their places."""

import pytest
from captionqa.config.prompts import place_captions, place_images, style_text, without_marks


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


@pytest.mark.parametrize(
    ("text", "captions", "wanted"),
    [
        ("What?", ["a cat"], "[Image: a cat]\nWhat?"),
        ("What?", [], "What?"),
        ("Which?", ["a cat", "a dog"], "[Image: a cat]\n[Image: a dog]\nWhich?"),
        ("Is <image> like <image>?", ["a cat", "a dog"], "Is [Image: a cat] like [Image: a dog]?"),
        ("Is it in <image>?", ["a cat", "a dog"], "[Image: a cat]\nIs it in [Image: a dog]?"),
        ("Is it <image>?", ["an <image> of {caption}"], "Is it [Image: an <image> of {caption}]?"),
    ],
)
def test_captions_stand_where_their_images_would(text, captions, wanted):
    assert place_captions(text, captions, "[Image: {caption}]") == wanted


def test_more_marks_than_captions_is_an_error():
    with pytest.raises(ValueError, match="2 <image> marks for 1 images"):
        place_captions("<image> and <image>", ["a cat"], "{caption}")


def test_without_images_their_marks_are_dropped():
    assert without_marks("<image>\nWhat is it?") == "What is it?"
    assert without_marks(" What? ") == " What? "
