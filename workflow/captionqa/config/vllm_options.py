"""vLLM's command-line options as users write them in `server.extra_args`.

vLLM's parser takes `--name value` and `--name=value`, reads `_` in a name as `-`, has short names for some options, and
lets the last of several win.
"""

from collections.abc import Iterator, Sequence

API_SERVERS = "--api-server-count"
#: Copies of the model, and GPUs of each.
DATA_PARALLEL = "--data-parallel-size"
TENSOR_PARALLEL = "--tensor-parallel-size"
PIPELINE_PARALLEL = "--pipeline-parallel-size"
SHORT_NAMES = {"-asc": API_SERVERS, "-dp": DATA_PARALLEL, "-tp": TENSOR_PARALLEL, "-pp": PIPELINE_PARALLEL}
#: The image cache of each API server, in GiB, and vLLM's own default.
IMAGE_CACHE_GB = "--mm-processor-cache-gb"
DEFAULT_IMAGE_CACHE_GB = 4


def is_given(arguments: Sequence[str], name: str) -> bool:
    """Whether the arguments hold an option; `name` is written with hyphens, such as `--max-num-seqs`."""
    return any(given == name for given, _ in _options(arguments))


def option_value(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option; None where the option is missing or comes last.

    A flag, which takes no value, gets whatever follows it.
    """
    values = [value for given, value in _options(arguments) if given == name and value is not None]
    return values[-1] if values else None


def api_server_count(arguments: Sequence[str]) -> int:
    """How many API servers `vllm serve` starts: without the option one for each copy of the model."""
    return _number(arguments, API_SERVERS if is_given(arguments, API_SERVERS) else DATA_PARALLEL)


def engines_and_gpus(arguments: Sequence[str]) -> tuple[int, int]:
    """(how many copies of the model a command line of vLLM serves, on how many GPUs each)."""
    gpus = _number(arguments, TENSOR_PARALLEL) * _number(arguments, PIPELINE_PARALLEL)
    return _number(arguments, DATA_PARALLEL), gpus


def _number(arguments: Sequence[str], name: str) -> int:
    """The value of an option whose default is 1; also 1 where it is no whole number, with which vLLM does not start."""
    value = option_value(arguments, name) or ""
    return max(1, int(value)) if value.isdecimal() else 1


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """(long name with hyphens, value) of each argument that is an option."""
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        name = SHORT_NAMES.get(name, name)
        if name.startswith("--"):
            following = arguments[index + 1] if index + 1 < len(arguments) else None
            yield name.replace("_", "-"), value if equals else following
