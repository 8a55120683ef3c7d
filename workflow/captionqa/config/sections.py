"""The sections of one data set, `captions` and `qa`: where their data are, and what both have in common."""

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from captionqa.config.captions_config import CaptionsConfig
from captionqa.config.hub_record import data_paths, is_hub_path, read_hub_record
from captionqa.config.layout import Layout
from captionqa.config.qa_config import QaConfig

if TYPE_CHECKING:
    from captionqa.config.config import Task

#: The sections that may be a map of data sets.
SECTIONS = ("captions", "qa")
#: A key that each checked section of one data set has, and no map of data sets.
ALWAYS_THERE = "max_tokens"


class Sections(NamedTuple):
    """What is asked about one data set."""

    captions: CaptionsConfig | None
    qa: QaConfig | None

    @classmethod
    def of(cls, checked: Mapping[str, Any], layout: Layout) -> Self:
        """Of a checked configuration with the sections of one data set alone."""
        captions, qa = checked.get("captions"), checked.get("qa")
        hub = read_hub_record(layout) if any(map(is_hub_path, data_paths(captions, qa))) else {}
        questions = None if qa is None else QaConfig.of(qa, hub)
        return cls(None if captions is None else CaptionsConfig.of(captions, hub, questions), questions)

    @property
    def hub_paths(self) -> list[str]:
        """The configured paths that are of the hub."""
        sections = [None if section is None else vars(section) for section in self]
        return list(dict.fromkeys(filter(is_hub_path, data_paths(*sections))))

    def allows_urls(self, task: "Task") -> bool:
        """Whether images of a task may be fetched from http(s) addresses."""
        of_questions = task == "qa" or (self.captions is not None and self.captions.of_questions)
        return of_questions and self.qa is not None and self.qa.allow_urls

    def hub_commits(self, task: "Task") -> dict[str, str]:
        """{path of the hub: the commit that it was planned with} of a task."""
        section = self.captions if task == "captions" else self.qa
        assert section is not None, f"{task} is not configured"
        paths = data_paths(vars(section), None) if task == "captions" else data_paths(None, vars(section))
        return {path: section.hub[path]["commit"] for path in paths if path in section.hub}

    @property
    def share_images(self) -> bool:
        """Whether captions and questions are of the same folder, so that one scan serves both."""
        if self.captions is None or self.qa is None or self.captions.of_questions:
            return False
        return self.captions.dataset_path == self.qa.dataset_path


def named_sections(checked: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{name of a data set: its sections} of a checked configuration; empty for one without names."""
    given = {task: checked.get(task) for task in SECTIONS}
    maps = {task: section for task, section in given.items() if section is not None and ALWAYS_THERE not in section}
    orders = list(maps.values())
    if all(name in orders[-1] for name in chain.from_iterable(orders)):
        orders.reverse()  # captions without names are of some of the data sets of the questions, whose order it is
    names = dict.fromkeys(chain.from_iterable(orders))
    return {name: {task: sections[name] for task, sections in maps.items() if name in sections} for name in names}
