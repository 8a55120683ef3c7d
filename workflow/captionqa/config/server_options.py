"""The options of vLLM that decide its answers, as a configuration gives them.

Options that are not named here, such as those for memory, ports, parallelism and scheduling, change no answer by more
than rounding.
"""

import json
from collections.abc import Iterator, Sequence

from captionqa.config.model_config import ServerConfig

#: A change of one of these is another model, whose answers are not mixed with those of the model before.
DECIDING = frozenset(
    {
        "--chat-template",
        "--chat-template-content-format",
        "--code-revision",
        "--config",
        "--config-format",
        "--convert",
        "--default-chat-template-kwargs",
        "--default-mm-loras",
        "--disable-sliding-window",
        "--dtype",
        "--enable-tower-connector-lora",
        "--generation-config",
        "--hf-config-path",
        "--hf-overrides",
        "--ignore-patterns",
        "--interleave-mm-strings",
        "--kv-cache-dtype",
        "--kv-cache-dtype-skip-layers",
        "--language-model-only",
        "--load-format",
        "--logits-processors",
        "--lora-dtype",
        "--lora-modules",
        "--lora-target-modules",
        "--media-io-kwargs",
        "--mm-encoder-attn-dtype",
        "--mm-encoder-only",
        "--mm-processor-kwargs",
        "--model-class-overrides",
        "--model-impl",
        "--model-loader-extra-config",
        "--override-generation-config",
        "--quantization",
        "--quantization-config",
        "--reasoning-config",
        "--reasoning-parser",
        "--revision",
        "--runner",
        "--seed",
        "--tokenizer",
        "--tokenizer-mode",
        "--tokenizer-revision",
        "--trust-remote-code",
        "--watermark-config",
    }
)
#: Of these, the ones that may name a file or a folder, whose content decides too.
NAMING_FILES = frozenset(
    {
        "--chat-template",
        "--config",
        "--default-mm-loras",
        "--generation-config",
        "--hf-config-path",
        "--lora-modules",
        "--tokenizer",
    }
)
#: Of these, the ones that take several words.
OF_SEVERAL_WORDS = frozenset(
    {
        "--ignore-patterns",
        "--kv-cache-dtype-skip-layers",
        "--logits-processors",
        "--lora-modules",
        "--lora-target-modules",
    }
)
SHORT_NAMES = {"-q": "--quantization"}
#: Given or left out, these mean the same: captionqa itself passes them.
DEFAULTS = {"--dtype": "auto", "--generation-config": "vllm"}


def server_options(server: ServerConfig) -> dict[str, str]:
    """{option: value} of the options that decide answers, as the `server` settings give them."""
    return deciding_options([*(server.command or ()), "--dtype", server.dtype, *server.extra_args])


def deciding_options(arguments: Sequence[str]) -> dict[str, str]:
    """{option: value} of the options that decide answers, of a command line of vLLM; of several the last counts.

    A key of a JSON option that is given on its own, such as `--hf-overrides.rope_theta 1e6`, is an option of its own.
    Spaces and the order of keys in JSON do not matter.
    """
    found = {name: " ".join(map(_plain, values)) for name, values in _given(arguments)}
    return {name: value for name, value in sorted(found.items()) if DEFAULTS.get(name) != value}


def named_paths(option: str, value: str) -> list[str]:
    """The files and folders that an option's value may name: the value, what follows `NAME=`, or texts in JSON."""
    if option not in NAMING_FILES:
        return []
    try:
        return list(_texts(json.loads(value)))
    except ValueError:
        return [value, *(word.partition("=")[2] for word in value.split() if "=" in word)]


def _given(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """(option, its values) of each deciding option that is given."""
    for index, argument in enumerate(arguments):
        written, equals, value = argument.partition("=")
        plain, dot, key = written.partition(".")
        name = _full_name(SHORT_NAMES.get(plain, plain.replace("_", "-")))
        if name is None:
            continue
        values = [value] if equals else []
        for following in arguments[index + 1 :]:
            if equals or _is_option(following) or (values and name not in OF_SEVERAL_WORDS):
                break
            values.append(following)
        yield name + dot + key, values


def _full_name(name: str) -> str | None:
    """The deciding option of this name, which may be cut short or begin with --no-; None where there is none."""
    if not name.startswith("--") or name == "--":
        return None
    wanted, negated = ("--" + name.removeprefix("--no-"), "--no-") if name.startswith("--no-") else (name, "--")
    matches = [wanted] if wanted in DECIDING else [option for option in DECIDING if option.startswith(wanted)]
    return negated + matches[0].removeprefix("--") if len(matches) == 1 else None


def _is_option(argument: str) -> bool:
    return argument.startswith("-") and not argument[1:2].isdigit()


def _plain(value: str) -> str:
    """JSON in its shortest form, other values as they are."""
    try:
        return json.dumps(json.loads(value), sort_keys=True)
    except ValueError:
        return value


def _texts(value: object) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
