"""Named data sets: `captions` and `qa` as a map of them, `captions: {docs: {...}, photos: {...}}`.

Such a configuration is checked once for each data set, as if it had no other, and put together again.
"""

import copy
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import chain, combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captionqa.config.caption_sets import COMPANIONS
from captionqa.config.captions_config import CaptionsConfig
from captionqa.config.qa_config import QaConfig
from captionqa.config.schema_sentence import nearest
from captionqa.config.sections import SECTIONS
from captionqa.errors import ConfigError

if TYPE_CHECKING:
    from captionqa.config.config import Config

NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")
#: The names in the output folder of what is of the whole run, or of the data set that has no name.
TAKEN = ("captions", "qa", "work", "logs", "report", "export", "judge", "audit.tsv", "comparison")
#: The key by which each section finds its data.
DATA_KEYS = {"captions": "dataset_path", "qa": "question_path"}
#: From this ratio of difflib on, a name is taken for a misspelt key.
NEARLY = 0.8
#: The keys of both sections.
KEYS = {task: [one.name for one in fields(of)] for task, of in (("captions", CaptionsConfig), ("qa", QaConfig))}


@dataclass(frozen=True)
class Part:
    """The configuration of a run for one of its data sets."""

    name: str
    #: With the sections of this data set alone, as if it were the only one.
    raw: dict[str, Any]
    #: The sections that are a map of data sets.
    mapped: Sequence[str]

    @contextmanager
    def naming_keys(self) -> Iterator[None]:
        """Have the keys in the sentences of errors named as the user wrote them: `captions.docs.max_tokens`."""
        try:
            yield
        except ConfigError as error:
            raise ConfigError(with_keys_named(str(error), self.name, self.mapped)) from error


def with_keys_named(text: str, name: str, mapped: Sequence[str] = SECTIONS) -> str:
    """A text about the keys of one data set, with these as they are in a map of data sets; `name` may be empty."""
    if not name:
        return text
    for task in mapped:
        key = rf"(?<![\w./-]){task}(?=\.(?:{'|'.join(KEYS[task])})\b|: )"
        text = re.sub(key, f"{task}.{name}", text)
    return text


def take_apart(raw: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Part]:
    """The configuration of each named data set; none where `captions` and `qa` are sections of their own keys.

    `captions` without a dataset_path, beside a map of `qa`, are asked for each data set that has them in its contexts.

    Raises:
        ConfigError: a name is none, or only one of the sections names data sets that the other has to name too.
    """
    given = {task: raw.get(task) for task in SECTIONS}
    keys = {task: schema["properties"][task]["properties"] for task in SECTIONS}
    maybe = {task: _sections_within(given[task], keys[task]) for task in SECTIONS}
    maps = {
        task: section
        for task, section in given.items()
        if isinstance(section, dict)
        and _is_map(task, section, keys[task], *(maybe[other] for other in SECTIONS if other != task))
    }
    if not maps:
        return []
    shared = given["captions"] if "captions" not in maps else None
    names = list(dict.fromkeys(chain.from_iterable(maps.values())))
    _check_names(names, maps)
    _check_plain(given, maps)
    if len(maps) == len(SECTIONS):
        _check_partners(**maps)
    parts = []
    for name in names:
        sections = {task: sections[name] for task, sections in maps.items() if name in sections}
        if shared is not None and _asks_with_captions(sections["qa"]):
            sections["captions"] = shared
        others = {key: value for key, value in raw.items() if key not in SECTIONS}
        # copied, since parts of sections that YAML merges are shared
        parts.append(Part(name, copy.deepcopy(others | sections), tuple(maps)))
    return parts


def put_together(raw: dict[str, Any], parts: Sequence[Part]) -> None:
    """Complete the configuration of a run, in place, by those of its data sets, which are checked."""
    for task in SECTIONS:
        sections = {part.name: part.raw[task] for part in parts if part.raw.get(task) is not None}
        raw.pop(task, None)
        raw |= {task: sections} if sections else {}
    raw |= {key: value for key, value in parts[0].raw.items() if key not in SECTIONS}


def check_readers(config: "Config") -> None:
    """Whether no two data sets have different readers; raises ConfigError."""
    readers = {name: each.qa.reader for name, each in config.named.items() if each.qa is not None and each.qa.reader}
    for (a, reader_a), (b, reader_b) in combinations(readers.items(), 2):
        if reader_a != reader_b:
            raise ConfigError(
                f"qa.{b}.reader: {reader_b!r} would be a second reader beside {reader_a!r} of qa.{a}.reader; a run has "
                "one, so name the same for both, or give one data set a configuration of its own."
            )


def check_styles(config: "Config") -> None:
    """Whether no captions of a data set are called like a file beside captions of another; raises ConfigError.

    A rule makes the files of all data sets, and tells by their names alone what they are.
    """
    sets = [(name, captions) for name, each in config.data_sets.items() for captions in each.caption_sets]
    styles = {captions.key: (name, captions) for name, captions in sets}
    for name, captions in sets:
        for key in (captions.key.removesuffix(ending) for ending in COMPANIONS):
            if key != captions.key and key in styles:
                other, beside = styles[key]
                raise ConfigError(
                    f"captions.{name}.prompt_styles: {captions.title!r} is called like a file that stands beside the "
                    f"captions of {beside.title!r} of the data set {other}; name the style otherwise."
                )


def check_folders(config: "Config") -> None:
    """Whether no data set's folder is among the images of one; raises ConfigError.

    The page there has pictures, which the next run would caption. An output folder below the images itself is left out.
    """
    output = Path(os.path.realpath(config.output_dir))
    for name, sections in config.named.items():
        if sections.captions is None or sections.captions.of_questions:
            continue
        images = Path(os.path.realpath(sections.captions.dataset_path))
        if images in output.parents:
            continue
        if inside := next((each for each in config.named if (output / each).is_relative_to(images)), None):
            raise ConfigError(
                f"output_dir: the results of the data set {inside} would be in the folder "
                f"{config.output_dir}/{inside}, among the images of captions.{name}.dataset_path, and the next run "
                "would caption the pictures of its page; set output_dir to another folder."
            )


def _sections_within(section: Any, keys: Mapping[str, Any]) -> dict[Any, Mapping[Any, Any]]:
    """What a section holds under names that are none of its keys, and that may be data sets."""
    given = section.items() if isinstance(section, dict) else ()
    return {name: value for name, value in given if name not in keys and isinstance(value, dict)}


def _is_map(task: str, section: Mapping[Any, Any], keys: Mapping[str, Any], named_by_other: Collection[Any]) -> bool:
    """Whether a section of the configuration is a map of data sets; the other section names these.

    Raises:
        ConfigError: it is both, or a name in it may be a misspelt key.
    """
    maps = _sections_within(section, keys)
    own = [key for key in section if key in keys]
    others = [key for key in section if key not in maps and key not in own]
    faults = {
        name: fault
        for name, value in maps.items()
        if name not in named_by_other and (fault := _fault_of_data_set(task, name, value, keys))
    }
    data_set = next((name for name, value in maps.items() if name not in faults and keys.keys() & value.keys()), None)
    if own and data_set is not None:
        raise ConfigError(
            f"{task}.{own[0]}: beside the data set {data_set!r} there is no room for keys of all data sets; write "
            f"{own[0]} into each (YAML's `<<` repeats them: docs/data.md)."
        )
    if others and data_set is not None:
        raise ConfigError(
            f"{task}.{others[0]}: must be a section of keys like the data set {data_set!r}, not {section[others[0]]!r}."
        )
    if own or others:
        return False
    for name, fault in faults.items():
        meant = nearest(name, keys, NEARLY)
        raise ConfigError(f"{task}.{name}: {task} has no key {name!r}{meant}; and if it names a data set, {fault}.")
    return bool(section)


def _fault_of_data_set(task: str, name: Any, value: Mapping[Any, Any], keys: Mapping[str, Any]) -> str | None:
    """Why a section within `captions` or `qa` may be no data set; None where it is clearly one."""
    is_nearly_a_key = bool(nearest(name, keys, NEARLY))
    has_known = not keys.keys().isdisjoint(value)
    if DATA_KEYS[task] in value or (not is_nearly_a_key and (has_known or not value)):
        return None
    if unknown := next((key for key in value if key not in keys), None):
        return f"its key {unknown!r} is unknown{nearest(unknown, keys, NEARLY)}"
    return f"that has to say where its data are, in {DATA_KEYS[task]}"


def _check_names(names: Sequence[Any], maps: Mapping[str, Mapping[Any, Any]]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        task = next(task for task, sections in maps.items() if name in sections)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            allowed = re.sub("[^A-Za-z0-9._-]+", "_", str(name)).lstrip("._-")
            quoted = f"'{name}'" if not isinstance(name, str) else allowed
            raise ConfigError(
                f"{task}: {name!r} is no name of a data set: a name is a text of English letters, digits, dots, dashes "
                f"and underscores{f'; try {quoted}' if allowed else ''}."
            )
        lower = name.lower()
        if lower in TAKEN or lower.startswith("comparison."):
            raise ConfigError(
                f"{task}.{name}: the output folder has something else of that name; name the data set otherwise."
            )
        if lower in seen:
            raise ConfigError(
                f"{task}.{name}: {name} and {seen[lower]} differ in case alone, and so would their folders; name one "
                "data set otherwise."
            )
        seen[lower] = name


def _check_plain(given: Mapping[str, Any], maps: Mapping[str, Mapping[str, Any]]) -> None:
    """Whether a section without names may stand beside a map of data sets; raises ConfigError."""
    name = next(iter(next(iter(maps.values()))))
    if "qa" not in maps and given["qa"] is not None:
        raise ConfigError(
            f"qa: captions names data sets, so name that of these questions too, as in qa: {{{name}: {{question_path: "
            "...}}."
        )
    captions = given["captions"]
    if "captions" in maps or not isinstance(captions, dict):
        return
    if captions.get("dataset_path") is not None:
        raise ConfigError(
            f"captions.dataset_path: qa names data sets, so name that of these images too, as in captions: {{{name}: "
            "{dataset_path: ...}}; or leave dataset_path out, which captions the images of the questions."
        )
    if not any(map(_asks_with_captions, maps["qa"].values())):
        raise ConfigError(
            "captions: qa names data sets, and none of them has caption in its contexts; name the data set of the "
            f"captions too, as in captions: {{{name}: {{dataset_path: ...}}}}."
        )


def _check_partners(captions: Mapping[str, Any], qa: Mapping[str, Any]) -> None:
    """Whether a data set that needs its other section is called alike in both maps; raises ConfigError."""
    for name, section in captions.items():
        if name not in qa and not (section or {}).get("dataset_path"):
            raise ConfigError(
                f"captions.{name}: there is no dataset_path, and no qa.{name}{nearest(name, qa, NEARLY)} whose images "
                "could be captioned; add one of them, with the same name in captions and qa."
            )
    for name, section in qa.items():
        needs = name not in captions and _asks_with_captions(section) and not section.get("captions_from")
        if needs and (hint := nearest(name, captions, NEARLY)):
            raise ConfigError(
                f"qa.{name}.contexts: caption needs captions.{name}, and there is none{hint}; write the same name in "
                "captions and qa."
            )


def _asks_with_captions(qa: Mapping[str, Any]) -> bool:
    contexts = qa.get("contexts")
    return isinstance(contexts, list) and "caption" in contexts
