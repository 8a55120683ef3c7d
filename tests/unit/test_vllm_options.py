"""vLLM's options are found in every form that vLLM's own parser accepts."""

import pytest
from captionqa.config.vllm_options import engines_and_gpus, is_given, option_value


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


@pytest.mark.parametrize(
    ("arguments", "engines", "gpus"),
    [
        ([], 1, 1),
        (["--tensor-parallel-size", "1", "--data-parallel-size", "4"], 4, 1),
        (["--tensor-parallel-size", "2", "-dp=4", "-pp", "3"], 4, 6),
        (["--tensor-parallel-size", "1", "-tp", "8"], 1, 8),
        (["--data-parallel-size", "many", "-pp", "0"], 1, 1),
    ],
    ids=str,
)
def test_the_gpus_of_a_server_are_those_of_all_copies_of_its_model(arguments, engines, gpus):
    assert engines_and_gpus(arguments) == (engines, gpus)
