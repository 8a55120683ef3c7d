"""What the end of the server's log tells the user."""

import pytest
from captionqa.server import vllm_log


def test_the_tail_of_a_log_is_its_last_lines(tmp_path):
    log = tmp_path / "server.log"
    assert vllm_log.tail(log) == ""
    log.write_bytes(b"first\n" + b"x" * 100_000 + b"\n\xff broken\n" + b"".join(b"line %d\n" % n for n in range(20)))
    end = vllm_log.tail(log)
    assert end.endswith("line 18\nline 19")
    assert "broken" in end
    assert "first" not in end


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        ("OSError: [Errno 98] Address already in use", True),
        ("[Errno 98] error while attempting to bind on address ('127.0.0.1', 1): address already in use", True),
        ("OSError: [Errno 99] Cannot assign requested address", False),
        ("", False),
    ],
)
def test_a_taken_port_is_told_from_other_failures(log, wanted):
    assert vllm_log.port_was_taken(log) is wanted


def test_the_options_that_the_last_generation_did_not_know_are_read_from_the_log():
    log = "error: unrecognized arguments: --old 1\nstarting generation 1: vllm\n"
    assert vllm_log.unknown_options(log) == set()
    log += "vllm serve: error: unrecognized arguments: --mm-encoder-tp-mode data --cache=3\n"
    assert vllm_log.unknown_options(log) == {"--mm-encoder-tp-mode", "--cache"}


FETCH, MEMORY = "hf download org/tiny", "ran out of memory"


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        ("OSError: You are trying to access a gated repo.", FETCH),
        ("401 Client Error: Unauthorized for url: https://huggingface.co/org/tiny", FETCH),
        ("We couldn't connect to 'https://huggingface.co' to load the files", FETCH),
        ("huggingface_hub.errors.LocalEntryNotFoundError: offline", FETCH),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", MEMORY),
        ("ValueError: No available memory for the cache blocks.", MEMORY),
        ("ValueError: Free memory on device (3.1/24 GiB) on startup is less than desired", MEMORY),
        (
            "ValueError: User-specified max_model_len (99999) is greater than the derived max_model_len",
            "more than the model allows",
        ),
        ("api_server.py: error: unrecognized arguments: --enforce-eagre", "server.extra_args holds an option"),
        ("vllm serve: error: unrecognized arguments: --allowed-media-domains none/", "knows --allowed-media-domains. "),
        ("ModuleNotFoundError: No module named 'vllm'", "make setup"),
        ("importlib.metadata.PackageNotFoundError: No package metadata was found for vllm", "make setup"),
    ],
)
def test_a_known_failure_comes_with_advice(log, wanted):
    assert wanted in vllm_log.advice(f"INFO starting\n{log}\n", "org/tiny", ["--enforce_eagre"])


@pytest.mark.parametrize(
    "noise",
    [
        "INFO using disaggregated prefill: False",
        "INFO the setting was propagated to all workers",
        "WARNING see https://huggingface.co/docs/transformers/main_classes/processors",
    ],
)
def test_a_word_in_passing_does_not_hide_the_failure(noise):
    log = f"{noise}\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n"
    assert MEMORY in vllm_log.advice(log, "org/tiny")


def test_words_of_different_lines_are_no_failure():
    log = (
        "INFO non-default args: {'max_model_len': 2048, 'enforce_eager': True}\n"
        "INFO GPU KV cache size: 9,000 tokens\n"
        "WARNING failed to increase ulimit with error current limit exceeds maximum limit\n"
        "WARNING the block is larger than it has to be\n"
    )
    assert vllm_log.advice(f"{log}Segmentation fault\n", "org/tiny") == ""


def test_an_unknown_failure_gets_no_advice():
    assert vllm_log.advice("Segmentation fault\n", "org/tiny") == ""
