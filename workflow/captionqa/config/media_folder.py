"""The media folder: the one folder that a server may read image files from itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionqa.config.vllm_options import is_given
from captionqa.errors import ConfigError

#: Of `client.image_transport`.
FILE = "file"
#: vLLM's option for the folder, and the key that stands for it in a server's settings.
OPTION = "--allowed-local-media-path"
SETTING = "allowed_local_media_path"


def server_settings(config: Mapping[str, Any], model: str) -> dict[str, str]:
    """What the configuration adds to a server's settings: with `image_transport: file` the folder, links followed.

    It is a data set itself, never a folder above it. One that the user names in server.extra_args is their word, and
    none is added. Raises ConfigError where two data sets are not one within the other.
    """
    settings = config["models"][model]
    named = is_given(settings["server"]["extra_args"], OPTION)
    if config["client"]["image_transport"] != FILE or settings["url"] is not None or named:
        return {}
    paths = [config[task]["dataset_path"] for task in ("captions", "qa") if config.get(task) is not None]
    folders = [Path(path).resolve() for path in paths]
    for folder in folders:
        if all(other.is_relative_to(folder) for other in folders):
            return {SETTING: str(folder)}
    raise ConfigError(
        f"client.image_transport: a server reads files of one folder alone, and neither captions.dataset_path "
        f"({paths[0]}) nor qa.dataset_path ({paths[1]}) holds the other; set image_transport to bytes, make a run with "
        f"an output_dir of its own for each, or name a folder that holds both after {OPTION} in server.extra_args."
    )
