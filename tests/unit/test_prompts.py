"""What the model is asked: the styles' own words, and images in their places."""

import pytest
from captionqa.config.prompts import chat_messages, style_text


def kinds(messages):
    return [part.get("text") or part["image_url"]["url"] for part in messages[0]["content"]]


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
    messages = chat_messages(text, urls)
    assert [message["role"] for message in messages] == ["user"]
    assert kinds(messages) == wanted


def test_parts_have_the_chat_formats_types():
    parts = chat_messages("What is in <image>?", ["data:image/png;base64,AA"])[0]["content"]
    assert parts[0] == {"type": "text", "text": "What is in "}
    assert parts[1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}


def test_more_marks_than_images_is_an_error():
    with pytest.raises(ValueError, match="2 <image> marks for 1 images"):
        chat_messages("<image> and <image>", ["1"])
