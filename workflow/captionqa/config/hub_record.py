"""The record of hub data: which local files the driver found for each `hf://` path of a configuration, for the jobs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from captionqa.config.layout import Layout
from captionqa.files import read_json

PREFIX = "hf://"


class HubFiles(TypedDict):
    """What a path of the hub stands for."""

    #: The commit that its revision was at.
    commit: str
    #: The local file, or the pattern of the local files, in the hub's cache.
    path: str


HubRecord = Mapping[str, HubFiles]


def is_hub_path(path: str) -> bool:
    """Whether a configured path is one of the hub."""
    return path.startswith(PREFIX)


def read_hub_record(layout: Layout) -> HubRecord:
    """The record of the last plan of a data set; empty where there is none."""
    record: HubRecord = read_json(Path(layout.hub_data)) or {}
    return record


def local_files(path: str, hub: HubRecord) -> str:
    """A configured path, or the local files that it stands for."""
    return hub[path]["path"] if path in hub else path


def data_paths(captions: Mapping[str, Any] | None, qa: Mapping[str, Any] | None) -> list[str]:
    """All paths of data in the sections of a configuration."""
    paths = [] if captions is None or captions["dataset_path"] is None else [captions["dataset_path"]]
    if qa is not None:
        questions = qa["question_path"]
        paths += [*([questions] if isinstance(questions, str) else questions), qa["dataset_path"]]
    return paths
