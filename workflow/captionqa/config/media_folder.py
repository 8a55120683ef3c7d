"""The media folder: the one folder from which a server may read image files itself."""

from captionqa.config.captions_config import CaptionsConfig
from captionqa.config.config import Config
from captionqa.config.data_root import data_root
from captionqa.config.hub_record import is_hub_path
from captionqa.config.qa_config import QaConfig
from captionqa.config.vllm_options import is_given
from captionqa.errors import ConfigError

#: The value of `client.image_transport` by which images are sent as references to files.
BY_FILE = "file"
#: vLLM's option for the folder.
MEDIA_PATH_OPTION = "--allowed-local-media-path"


def allowed_folder(config: Config, model: str) -> str | None:
    """The folder that a model's own server may read with `image_transport: file`: the data set, with links resolved.

    Of several data sets it is the one that holds the others, never a folder above all. None where images are sent as
    bytes, where the server is an existing one, and where the user names a folder in server.extra_args.

    Raises:
        ConfigError: no data set holds the others.
    """
    named = is_given(config.models[model].server.extra_args, MEDIA_PATH_OPTION)
    if config.client.image_transport != BY_FILE or config.models[model].url is not None or named:
        return None
    paths = {
        f"{task}.{name}.dataset_path" if name else f"{task}.dataset_path": section.data_path
        for name, each in config.data_sets.items()
        for task in each.tasks_of(model)
        if _may_name_files(section := each.section(task))
    }
    if not paths:
        return None
    folders = [data_root(path) for path in paths.values()]
    for folder in folders:
        if all(other.is_relative_to(folder) for other in folders):
            return str(folder)
    *others, last = (f"{key} ({path})" for key, path in paths.items())
    neither, the_other, both = ("neither", "the other", "both") if len(paths) == 2 else ("none of", "the others", "all")
    before_last = "nor" if len(paths) == 2 else "and"
    raise ConfigError(
        f"client.image_transport: a server reads files of one folder alone, and {neither} {', '.join(others)} "
        f"{before_last} {last} holds {the_other}; set image_transport to bytes, make a run with an output_dir of its "
        f"own for each, or name a folder that holds {both} after {MEDIA_PATH_OPTION} in server.extra_args."
    )


def _may_name_files(section: CaptionsConfig | QaConfig) -> bool:
    """Whether images may be files of a folder: those of a hub's data set are inside of its files."""
    has_folder = isinstance(section, CaptionsConfig) and section.image_folder is not None
    return has_folder or not is_hub_path(section.dataset_path)
