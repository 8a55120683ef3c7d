"""Checking a configuration: the schema gives defaults and rules, and the first error becomes one clear sentence."""

import glob
import os
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from jsonschema import Draft202012Validator

from captionqa import WORKFLOW
from captionqa.config import media_folder
from captionqa.config.caption_sets import COMPANIONS, CaptionSet
from captionqa.config.captionqa_protocol import add_protocol, check_protocol
from captionqa.config.config import TASKS, Config
from captionqa.config.context_length import check_context_length
from captionqa.config.contexts_check import check_contexts
from captionqa.config.data_sets import check_folders, check_readers, check_styles, put_together, take_apart
from captionqa.config.hub_record import is_hub_path
from captionqa.config.judge_config import check_judge, check_judge_model, check_judges
from captionqa.config.model_prompts import check_model_prompts
from captionqa.config.presets import load_caption_preset, load_preset
from captionqa.config.prompts import STYLES
from captionqa.config.repeats import check_repeats, check_samples
from captionqa.config.sampling_presets import add_sampling_presets
from captionqa.config.schema_defaults import filling_validator
from captionqa.config.schema_sentence import nearest, sentence
from captionqa.config.vllm_options import is_given
from captionqa.config.yaml_text import read_yaml
from captionqa.errors import ConfigError

SCHEMA = WORKFLOW / "schemas" / "config.schema.yaml"
#: Options of vLLM with which captionqa could not use the server: {option: why, and what to do}.
REFUSED_ARGUMENTS = {
    "--model": "--model would serve another model than path names; give it as path",
    "--port": "--port would make the server listen where no client asks; give it as server.port",
    "--api-key": "--api-key would make the server refuse the key that captionqa makes for it; leave it out",
}


def check(raw: dict[str, Any], schema: Mapping[str, Any]) -> Config:
    """Fill in the schema's defaults, in place, and return the checked configuration.

    In place, since Snakemake hands the same mapping to its jobs, which then need no schema.

    Raises:
        ConfigError: names the key, what is wrong with it, and for an unknown key the nearest known one.
    """
    parts = take_apart(raw, schema)
    for part in parts:
        with part.naming_keys():
            _check_data_set(part.raw, schema)
    if parts:
        put_together(raw, parts)
        config = Config.of(raw)
        check_readers(config)
        check_styles(config)
        check_folders(config)
        check_judges(config)
    else:
        config = _check_data_set(raw, schema)
    by_name = {part.name: part for part in parts}
    for name, each in config.data_sets.items():
        with by_name[name].naming_keys() if name else nullcontext():
            _check_models(each)
    _check_run(config)
    return config


def _check_data_set(raw: dict[str, Any], schema: Mapping[str, Any]) -> Config:
    """As `check`, of a configuration with the sections of one data set, and without what is about the whole run."""
    _add_caption_preset(raw)
    add_protocol(raw)
    add_sampling_presets(raw)
    _add_preset(raw, schema)
    error = jsonschema.exceptions.best_match(filling_validator(schema).iter_errors(raw))
    if error is not None:
        raise ConfigError(sentence(error))
    check_protocol(raw)
    check_repeats(raw)
    _tidy_paths(raw)
    _check_captions(raw)
    _check_reader(raw)
    config = Config.of(raw)
    if config.captions is not None and config.captions.schema_text is not None:
        raw["captions"]["schema_text"] = config.captions.schema_text  # for jobs, whatever becomes of the file
    check_judge_model(config)
    if config.captions is not None:
        known = {*STYLES, *config.captions.prompts}
        for style in config.captions.prompt_styles:
            if style not in known:
                raise ConfigError(
                    f"captions.prompt_styles: {style!r} is no prompt style{nearest(style, known)}; known are "
                    f"{', '.join(sorted(known))}, and any you add under captions.prompts."
                )
        _refuse_same_names(config.caption_sets)
    check_contexts(config)
    if config.qa is not None and config.qa.instruction is not None and config.qa.instructions:
        raise ConfigError("qa.instructions: qa.instruction gives them already; leave one of the two out.")
    if config.qa is not None and config.qa.relative_tolerance and config.qa.scoring in ("vqa", "anls"):
        raise ConfigError(
            f"qa.relative_tolerance: qa.scoring: {config.qa.scoring} compares texts and has no tolerance; set it to 0."
        )
    return config


def _check_models(config: Config) -> None:
    """Whether what the models of a run do for one data set fits together; raises ConfigError.

    A reader or a judge that another data set names has a part in it, so this waits until all data sets are checked.
    """
    check_judge(config)
    check_samples(config)
    check_context_length(config)


def _check_run(config: Config) -> None:
    """Whether what is about the whole run fits together; raises ConfigError."""
    if not config.tasks:
        raise ConfigError("the configuration asks for nothing: give captions, qa or both; see config/config.yaml.")
    for task in TASKS:
        if getattr(config.export, task) and task not in config.tasks:
            raise ConfigError(
                f"export.{task}: the configuration asks for no {task}; add the section {task}, or leave it out."
            )
    _refuse_case_alone(config.models)
    check_model_prompts(config)
    _refuse_braces(config.output_dir)
    for name, model in config.models.items():
        media_folder.allowed_folder(config, name)
        for option, why in REFUSED_ARGUMENTS.items():
            if is_given(model.server.extra_args, option):
                raise ConfigError(f"models.{name}.server.extra_args: {why}.")


def load_config(path: Path) -> Config:
    """Read and check a configuration file; raises ConfigError."""
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} is no mapping of keys; see config/config.yaml.")
    return check(raw, read_schema())


def read_schema() -> dict[str, Any]:
    """The schema of the configuration, read by libyaml, in a tenth of the time: each command waits for it."""
    schema: dict[str, Any] = yaml.CSafeLoader(SCHEMA.read_text(encoding="utf-8")).get_single_data()
    return schema


def _add_preset(raw: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """Give the keys of `qa` that the configuration leaves out the values of its preset; raises ConfigError."""
    qa = raw.get("qa")
    if not isinstance(qa, dict) or not isinstance(qa.get("preset"), str) or not qa["preset"]:
        return
    preset = load_preset(qa["preset"])
    rules = {"$defs": schema["$defs"], **schema["properties"]["qa"]["properties"]["columns"]}
    for layout in preset.layouts:
        if error := jsonschema.exceptions.best_match(Draft202012Validator(rules).iter_errors(dict(layout.columns))):
            raise ConfigError(f"qa.preset: in {qa['preset']}, layouts: {sentence(error)}")
    for key, value in preset.qa.items():
        if key != "instruction" or not qa.get("instructions"):
            qa.setdefault(key, value)


def _add_caption_preset(raw: dict[str, Any]) -> None:
    """As `_add_preset`, for `captions`; of the columns each by itself."""
    captions = raw.get("captions")
    if not isinstance(captions, dict) or not isinstance(captions.get("preset"), str) or not captions["preset"]:
        return
    given = load_caption_preset(captions["preset"])
    for key, value in given.items():
        captions.setdefault(key, {} if isinstance(value, dict) else value)
    if isinstance(columns := captions.get("columns"), dict):
        captions["columns"] = {**given.get("columns", {}), **columns}


def _tidy_paths(raw: dict[str, Any]) -> None:
    """Expand ~, and give the output folder its plainest name, since Snakemake compares paths as text."""
    raw["output_dir"] = os.path.normpath(os.path.expanduser(raw["output_dir"]))
    for section in filter(None, (raw.get("captions"), raw.get("qa"), *raw["models"].values())):
        for key in ("dataset_path", "image_folder", "question_path", "path", "schema"):
            if isinstance(section.get(key), list):
                section[key] = list(map(os.path.expanduser, section[key]))
            elif section.get(key) is not None:
                section[key] = os.path.expanduser(section[key])
    if not (qa := raw.get("qa")):
        return
    if "dataset_path" not in qa:
        qa["dataset_path"] = _folder_of(qa["question_path"])
    if isinstance(qa["captions_from"], dict):
        qa["captions_from"] = {name: os.path.expanduser(path) for name, path in qa["captions_from"].items()}
    elif qa["captions_from"] is not None:
        qa["captions_from"] = os.path.expanduser(qa["captions_from"])


def _folder_of(paths: str | list[str]) -> str:
    """The folder that questions are in, to which the paths of their images are relative where no other is given."""
    folders = []
    listed = [paths] if isinstance(paths, str) else paths
    if of_hub := next(filter(is_hub_path, listed), None):
        return of_hub
    for path in listed:
        plain = Path(path)
        while glob.has_magic(str(plain)):
            plain = plain.parent
        folders.append(str(plain if plain.is_dir() else plain.parent))
    return os.path.commonpath(folders)


def _refuse_case_alone(models: Iterable[str]) -> None:
    """A file system that ignores case would have one folder for both."""
    seen: dict[str, str] = {}
    for name in models:
        if (other := seen.setdefault(name.lower(), name)) != name:
            raise ConfigError(
                f"models.{name}: {name} and {other} differ in case alone, and so would their folders; name one model "
                "otherwise."
            )


def _refuse_braces(output_dir: str) -> None:
    """Snakemake would take a name in braces for a wildcard."""
    if "{" in output_dir or "}" in output_dir:
        raise ConfigError(f"output_dir: {output_dir!r} must not hold a brace, {{ or }}; name a folder without.")


def _check_captions(raw: Mapping[str, Any]) -> None:
    """Only the captions of the images of questions have no data set of their own; raises ConfigError."""
    captions = raw.get("captions")
    if not captions or captions["dataset_path"] is not None:
        return
    if captions["image_folder"] is not None:
        raise ConfigError("captions.image_folder is for a list of images; name the list in captions.dataset_path.")
    if "caption" not in (raw.get("qa") or {}).get("contexts", ()):
        raise ConfigError(
            "captions: the key 'dataset_path' is missing; only with caption in qa.contexts it may be left out, which "
            "captions the images of the questions."
        )


def _check_reader(raw: Mapping[str, Any]) -> None:
    """Whether the reader is one of several models, and has captions to read; raises ConfigError."""
    qa = raw.get("qa")
    if not qa or qa["reader"] is None:
        return
    reader, models = qa["reader"], raw["models"]
    if reader not in models:
        raise ConfigError(f"qa.reader: {reader!r} is none of models{nearest(reader, models)}; add its section there.")
    if len(models) == 1:
        raise ConfigError(
            f"qa.reader: {reader!r} is the only model, so it answers without being named; leave qa.reader out, or add "
            "the model that captions to models."
        )
    if "caption" not in qa["contexts"]:
        raise ConfigError("qa.reader: a reader answers from captions; add caption to qa.contexts.")


def _refuse_same_names(captions: Iterable[CaptionSet]) -> None:
    seen: dict[str, str] = {}
    for one in captions:
        other = seen.get(one.key)
        seen[one.key] = one.title
        if other is not None:
            raise ConfigError(
                f"captions.prompt_styles: {other!r} and {one.title!r} would write the same file; name each style once."
            )
    for key, title in seen.items():
        other = next(
            (seen[name] for ending in COMPANIONS if (name := key.removesuffix(ending)) in seen.keys() - {key}), None
        )
        if other is not None:
            raise ConfigError(
                f"captions.prompt_styles: {title!r} would write a file that stands beside the captions of {other!r}; "
                "name the style otherwise."
            )
