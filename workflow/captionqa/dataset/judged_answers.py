"""The answers of one model in one context, as the judge gets them: which chunks hold them, and lists of those to judge.

What is judged is not known when a run is planned. What stands for it in the name of a chunk's result is a digest of the
name of the answers' chunk, of the question rows and of the rules by which answers are graded and chosen.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypedDict

from captionqa import PACKAGE
from captionqa.config.answer_files import AnswerFiles
from captionqa.config.config import Config
from captionqa.config.contexts import Context
from captionqa.config.layout import Layout
from captionqa.config.settings import fingerprint, qa_settings
from captionqa.dataset.caption_links import CaptionLinks
from captionqa.dataset.plan import Plan, load_plan
from captionqa.dataset.question_repeats import is_first
from captionqa.files import read_json, read_json_lines

DIGEST_BYTES = 6
#: The code that decides which answers are judged, and what the judge is told of them.
CHOOSING_CODE = (
    "reasoning.py",
    "grading/*.py",
    "results/qa_record.py",
    "results/repeated_question.py",
    "results/judge_items.py",
)


class ListIndex(TypedDict):
    """The file that is written with the lists of one answer set."""

    #: {number of the chunk: answers to judge}.
    items: dict[str, int]
    #: What `code_digest` was.
    code: str
    #: Answers without final words, in which there is nothing to judge.
    without_words: int


@dataclass(frozen=True)
class JudgedAnswers:
    """The answers of one model in one context, by the plan as it is saved."""

    config: Config
    #: Of the judge.
    layout: Layout
    #: Who answered, and in which context.
    model: str
    context: Context

    @property
    def title(self) -> str:
        """As a person reads it: `judge qa of MODEL`."""
        return f"judge {self.context.title} of {self.model}"

    @property
    def answered(self) -> Layout:
        """The layout of the model that answered."""
        return replace(self.layout, model=self.model)

    @property
    def work(self) -> str:
        """The folder of the `AnswerFiles` and of the lists."""
        return self.layout.judge_work(self.model, self.context.suffix)

    @property
    def lists(self) -> str:
        """The folder of the lists."""
        return f"{self.work}/items"

    @property
    def index(self) -> str:
        """The file that is written with the lists. Its name has a digest of all that decides what is in them."""
        return f"{self.lists}/{_digest(list(self.digests().values()))}.json"

    def path(self, kind: str) -> str:
        """A final file beside the results of the answers, such as judged or judge_metrics; or one of the answers."""
        return self.answered.qa(kind, self.context.suffix)

    def plan(self) -> Plan:
        return load_plan(self.layout, "qa")

    def answer_results(self) -> list[str]:
        """The results of the chunks that hold the answers."""
        links = CaptionLinks.of(self.config, self.answered, self.context)
        settings = qa_settings(self.config, self.model, self.context)
        work = self.answered.qa_work(self.context.suffix)
        return self.plan().results(work, fingerprint(settings), None if links is None else links.digests)

    def digests(self) -> dict[int, str]:
        """{number of the chunk: what stands for the judged answers in the name of its result}."""
        qa, plan = self.config.section("qa"), self.plan()
        assert qa.judge is not None, "there is a judge"
        from captionqa.grading.scoring import GradingRules  # slow, and only a run with a judge gets here

        rules = json.dumps([plan.rows, qa.judge.when, asdict(GradingRules.of(qa))])
        folder = len(AnswerFiles(self.answered.qa_work(self.context.suffix)).result(""))
        results = zip(plan.chunks, self.answer_results(), strict=True)
        return {chunk.number: _digest([rules, path[folder:]]) for chunk, path in results}

    def list_names(self) -> list[str]:
        """The names of the chunks' lists, in their folder."""
        return self.plan().list_names(self.digests())

    def results(self, settings_fingerprint: str) -> list[str]:
        """The paths of the results of the judge's chunks."""
        return self.plan().results(self.work, settings_fingerprint, self.digests())

    def known_items(self) -> dict[int, int]:
        """{number of a chunk: how many of its answers are judged}, of those where it is known and stays so.

        That is where the answers and the lists are there, and the code that chooses them is as it was.
        """
        found: ListIndex | None = read_json(self.index)
        if found is None or found["code"] != code_digest():
            return {}
        links = CaptionLinks.of(self.config, self.answered, self.context)
        return {
            chunk.number: found["items"][str(chunk.number)]
            for chunk, path in zip(self.plan().chunks, self.answer_results(), strict=True)
            # captions that are asked for again change answers
            if all(map(os.path.exists, [path, *([] if links is None else links.paths[chunk.number])]))
        }

    def most_items(self) -> dict[int, int]:
        """As `known_items`, and of other chunks the most that it can be: one answer to each question.

        It has no other chunks where all their items are questions of their own.
        """
        if not self.config.section("qa").is_repeated:
            return self.known_items()
        unknown = self.unknown_chunks()
        questions = {number: _questions(path) for number, path in unknown.items() if os.path.exists(path)}
        return questions | self.known_items()

    def drop_damaged_lists(self) -> None:
        """Remove the index where it is damaged, or a list is gone or was emptied: then all are written again."""
        if os.path.exists(self.index) and not self._has_lists():
            Path(self.index).unlink(missing_ok=True)

    def _has_lists(self) -> bool:
        found = read_json(self.index)
        if not isinstance(found, dict) or not ListIndex.__annotations__.keys() <= found.keys():
            return False
        items, lists = found["items"], [Path(self.lists, name) for name in self.list_names()]
        return isinstance(items, dict) and all(
            path.exists() and bool(path.stat().st_size) == bool(items.get(str(chunk.number)))
            for chunk, path in zip(self.plan().chunks, lists, strict=True)
        )

    def unknown_chunks(self) -> dict[int, str]:
        """{number of a chunk: the list of its questions}, of the chunks of which it is not known what is judged."""
        known, plan = self.known_items(), self.plan()
        lists = zip(plan.chunks, plan.item_lists(self.layout, "qa"), strict=True)
        return {chunk.number: path for chunk, path in lists if chunk.number not in known}


@cache
def _questions(item_list: str) -> int:
    """How many questions the items of a list are about; its name has a digest of its content."""
    return sum(is_first(entry["id"]) for entry in read_json_lines(item_list))


@cache
def code_digest() -> str:
    """A digest of the code that chooses what is judged, which a process takes once."""
    paths = [path for pattern in CHOOSING_CODE for path in sorted(PACKAGE.glob(pattern))]
    return _digest([path.read_text(encoding="utf-8") for path in paths])


def _digest(parts: list[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=DIGEST_BYTES).hexdigest()
