"""vLLM's command-line options as users write them in `server.extra_args`.

vLLM's parser takes `--name value` and `--name=value`, reads `_` in a name as `-`, and lets the last of several win.
"""

from collections.abc import Iterator, Sequence

API_SERVERS = "--api-server-count"
#: Options by which a user decides on the number of API servers.
API_SERVERS_GIVEN = (API_SERVERS, "--data-parallel-size")
API_SERVERS_GIVEN_SHORT = {"-asc", "-dp"}
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


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """(name with hyphens, value) of each argument that starts with `--`."""
    for index, argument in enumerate(arguments):
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            following = arguments[index + 1] if index + 1 < len(arguments) else None
            yield name.replace("_", "-"), value if equals else following
