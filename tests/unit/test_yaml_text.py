"""A configuration that is no YAML: the message names the file, the line and what to change."""

import pytest
from captionqa.config.yaml_text import read_yaml
from captionqa.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "captions:\n  prompts:\n    ALT: sentence: one only\n",
            "my.yaml line 3: 'ALT: sentence: one only' needs quotes around the text after the first colon.",
        ),
        ("captions:\n\tchunks: 2\n", "my.yaml line 2: 'chunks: 2' is indented with a tab; use spaces."),
        ("captions: [SIMPLE\nqa: 1\n", "my.yaml line 2: 'qa: 1': expected ',' or ']', but got ':'."),
        ("\x00", "my.yaml is no YAML: unacceptable character"),
    ],
)
def test_what_is_no_yaml_is_named_with_its_line(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        read_yaml(tmp_path.joinpath("my.yaml").relative_to(tmp_path))
    assert str(error.value).startswith(said)


def test_a_file_of_another_encoding_is_one_sentence(tmp_path):
    (tmp_path / "my.yaml").write_bytes(b"captions: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"my\.yaml cannot be read"):
        read_yaml(tmp_path / "my.yaml")
