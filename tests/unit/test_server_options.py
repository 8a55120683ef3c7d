"""Which options of vLLM decide its answers, in every form in which vLLM takes them."""

import pytest
from captionqa.config.server_options import DECIDING, NAMING_FILES, deciding_options, named_paths, server_options


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--revision", "v1"], {"--revision": "v1"}),
        (["--revision=v1"], {"--revision": "v1"}),
        (["--chat_template", "a.jinja"], {"--chat-template": "a.jinja"}),
        (["--chat_template=a_b.jinja"], {"--chat-template": "a_b.jinja"}),
        (["--quantization", "awq", "--quantization", "fp8"], {"--quantization": "fp8"}),
        (["-q", "awq"], {"--quantization": "awq"}),
        (["--dty", "half"], {"--dtype": "half"}),
        (["--trust-remote-code", "--port", "1"], {"--trust-remote-code": ""}),
        (["--no-trust-remote-code"], {"--no-trust-remote-code": ""}),
        (["--seed", "-1"], {"--seed": "-1"}),
        (["--lora-modules", "a=/x", "b=/y", "--port=1"], {"--lora-modules": "a=/x b=/y"}),
        (["--hf-overrides", '{"b": 1,   "a": 2}'], {"--hf-overrides": '{"a": 2, "b": 1}'}),
        (["--hf_overrides.rope.theta", "5"], {"--hf-overrides.rope.theta": "5"}),
        (["--dtype", "auto", "org/tiny"], {}),
        (["--dtype", "auto", "--generation-config", "vllm"], {}),
        (["--dtype", "auto", "--dtype", "float16"], {"--dtype": "float16"}),
    ],
    ids=str,
)
def test_deciding_options_are_read_in_every_form_that_vllm_takes(arguments, options):
    assert deciding_options(arguments) == options


@pytest.mark.parametrize(
    "arguments",
    [
        ["--gpu-memory-utilization", "0.5", "--max-num-seqs=7", "--max-num-batched-tokens", "9", "--swap-space", "4"],
        ["--port", "1", "--host", "h", "--served-model-name", "x", "--download-dir", "/d", "--api-key", "k"],
        ["-tp", "2", "--tensor-parallel-size", "2", "--pipeline-parallel-size=2", "--data-parallel-size", "2"],
        ["--scheduling-policy", "priority", "--enable-prefix-caching", "--no-enable-chunked-prefill", "-O3"],
        ["--enforce-eager", "--limit-mm-per-prompt", '{"image": 3}', "--max-model-len", "9", "--enable-lora"],
    ],
    ids=str,
)
def test_memory_ports_parallelism_and_scheduling_decide_nothing(arguments):
    assert deciding_options(arguments) == {}


def test_the_configurations_own_keys_and_its_command_count_too(make_config):
    server = {"dtype": "float16", "command": ["python", "-m", "vllm", "--seed", "3"], "extra_args": ["--dtype", "half"]}
    config = make_config({"models": {"tiny": {"server": server}}})
    assert server_options(config.model.server) == {"--dtype": "half", "--seed": "3"}


def test_files_are_found_in_plain_values_pairs_and_json():
    assert NAMING_FILES <= DECIDING
    assert named_paths("--chat-template", "a b.jinja") == ["a b.jinja"]
    assert "/x" in named_paths("--lora-modules", "a=/x b=/y")
    assert "/y" in named_paths("--lora-modules", "a=/x b=/y")
    assert "/z" in named_paths("--lora-modules", '{"name": "a", "path": "/z"}')
    assert named_paths("--quantization", "awq") == []
