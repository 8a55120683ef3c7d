"""A request: the JSON that is sent for its texts and images, byte for byte, and images in bytes for references."""

from dataclasses import replace

import pytest
from captionqa.client.chat_request import ChatRequest
from captionqa.client.image_part import FileReference, ImagePart
from captionqa.config.prompts import place_images
from captionqa.dataset.image_encoding import EncodedImage

IMAGE = EncodedImage("PNG", b"\0\1\2", is_untouched=True)
IN_BYTES = ImagePart.of(IMAGE, None)
FALLBACK_MESSAGES = (
    b', {"role": "assistant", "content": "A cat or a dog."}, '
    b'{"role": "user", "content": "Which option is it? Answer with its letter only."}'
)


@pytest.fixture
def reference(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(IMAGE.data)
    found = path.stat()
    return FileReference.to(path, (found.st_size, found.st_mtime_ns))


def sent(request, sampling=None):
    return b"".join(request.body(sampling or {}).with_model("tiny"))


def test_messages_have_the_chat_formats_types():
    request = ChatRequest(place_images("What is in <image>?", [IN_BYTES]), 9)
    (message,) = request.messages()
    assert message["role"] == "user"
    assert message["content"] == [
        {"type": "text", "text": "What is in "},
        {"type": "image_url", "image_url": {"url": b"data:image/png;base64,AAEC"}},
        {"type": "text", "text": "?"},
    ]


def test_the_bytes_of_a_request_stay_as_they_are():
    request = ChatRequest([IN_BYTES, 'Is it "é"?'], 9)
    assert sent(request, {"temperature": 0, "top_k": 3}) == (
        b'{"model": "tiny", "messages": [{"role": "user", "content": ['
        b'{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAEC"}}, '
        b'{"type": "text", "text": "Is it \\"\\u00e9\\"?"}]}], "max_tokens": 9, "temperature": 0, "top_k": 3}'
    )


def test_the_bytes_of_a_fallbacks_request_stay_as_they_are():
    first = ChatRequest(["What is it?\nA. cat\nB. dog"], 9)
    fallback = replace(first, first_answer="A cat or a dog.", allowed_answers="AB")
    messages = b'{"model": "tiny", "messages": [{"role": "user", "content": [{"type": "text", "text": '
    messages += b'"What is it?\\nA. cat\\nB. dog"}]}'
    assert sent(first) == messages + b'], "max_tokens": 9}'
    assert sent(fallback) == (
        messages + FALLBACK_MESSAGES + b'], "max_tokens": 9, "structured_outputs": {"choice": ["A", "B"]}}'
    )


def test_an_image_is_a_part_of_the_body_and_not_copied():
    body = ChatRequest([IN_BYTES, "What?"], 9).body({})
    assert any(part is IN_BYTES.url for part in body.with_model("tiny"))


def test_a_reference_is_sent_as_the_files_url_and_is_replaced_by_what_was_read(reference):
    request = ChatRequest([ImagePart.of(IMAGE, reference), "What?", IN_BYTES], 9)
    assert request.references == [reference]
    assert reference.url in sent(request)
    reference.path.write_bytes(b"another picture")
    in_bytes = request.in_bytes()
    assert in_bytes.references == []
    assert sent(in_bytes) == sent(ChatRequest([IN_BYTES, "What?", IN_BYTES], 9))


def test_an_image_that_was_changed_for_the_server_is_sent_in_bytes_in_spite_of_a_reference(reference):
    assert ImagePart.of(replace(IMAGE, is_untouched=False), reference) == IN_BYTES


def test_a_reference_shows_whether_its_file_changed(reference):
    assert reference.is_unchanged()
    reference.path.write_bytes(b"another picture")
    assert not reference.is_unchanged()
    reference.path.unlink()
    assert not reference.is_unchanged()
