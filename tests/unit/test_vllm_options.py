"""vLLM's options are found in every form that vLLM's own parser accepts."""

import pytest
from captionqa.config.vllm_options import is_given, option_value


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--download-dir", "/hub"], "/hub"),
        (["--download-dir=/hub"], "/hub"),
        (["--download_dir", "/hub"], "/hub"),
        (["--download_dir=/hub"], "/hub"),
        (["--download-dir=/a_b=c"], "/a_b=c"),
        (["--download-dir", "/first", "--seed", "7", "--download_dir=/last"], "/last"),
        (["--download-dir="], ""),
        (["--download-dir"], None),
        ([], None),
        (["--download-directory", "/hub"], None),
        (["download-dir", "/hub"], None),
    ],
    ids=str,
)
def test_an_options_value_is_read_as_vllm_reads_it(arguments, value):
    assert option_value(arguments, "--download-dir") == value


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["--enforce-eager"], True),
        (["--enforce_eager"], True),
        (["--enforce-eager=true"], True),
        (["--enforce-eager-not"], False),
        (["--seed", "7"], False),
        ([], False),
    ],
    ids=str,
)
def test_an_option_is_given_in_any_form(arguments, given):
    assert is_given(arguments, "--enforce-eager") is given
