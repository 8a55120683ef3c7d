"""What chunks of questions with captions wait for: the chunk results, or the file, that hold their captions.

The captions are not known when a run is planned. What stands for them in the name of a chunk's result is a digest of
the names of the caption results that it waits for, which change whenever a caption may. Of a file it is its content's.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cache

from captionqa.config.answer_files import AnswerFiles
from captionqa.config.config import Config
from captionqa.config.contexts import Context
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings, fingerprint
from captionqa.dataset.caption_ids import CaptionIds, linked_chunks
from captionqa.dataset.plan import Plan, load_plan
from captionqa.dataset.plan_state import inputs_digest
from captionqa.files import read_json, write_json

DIGEST_BYTES = 6


@dataclass(frozen=True)
class CaptionLinks:
    """What holds the captions of each chunk of questions, in one context."""

    #: {chunk of questions: the paths of what holds its captions}: chunk results, or one file.
    paths: dict[int, list[str]]
    #: {chunk of questions: what stands for its captions in the name of its result}.
    digests: dict[int, str]

    @classmethod
    def of(cls, config: Config, layout: Layout, context: Context) -> "CaptionLinks | None":
        """The links of a context by the plans as they are saved; None for a context without captions."""
        if context.captions is None:
            return None
        questions = load_plan(layout, "qa")
        if context.file is not None:
            digest = file_digest(context.file)
            numbers = [chunk.number for chunk in questions.chunks]
            return cls({number: [context.file] for number in numbers}, dict.fromkeys(numbers, digest))
        captions = load_plan(layout, "captions")
        captioner = context.captioned_by(layout.model)
        settings = caption_settings(config, captioner, context.captions)
        work = replace(layout, model=captioner).captions_work(context.captions.lower())
        results = captions.results(work, fingerprint(settings))
        by_number = {chunk.number: path for chunk, path in zip(captions.chunks, results, strict=True)}
        links = _linked(config, layout, questions, captions)
        paths = {number: [by_number[chunk] for chunk in chunks] for number, chunks in links.items()}
        folder = len(str(AnswerFiles(work).chunks))
        return cls(paths, {number: _digest([path[folder:] for path in held]) for number, held in paths.items()})


@cache
def file_digest(path: str) -> str:
    """Twelve hexadecimal digits of a file's content, which a process takes once."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).hexdigest()


def _linked(config: Config, layout: Layout, questions: Plan, captions: Plan) -> dict[int, list[int]]:
    """As `linked_chunks`; kept in a file, since it reads all item lists of the questions."""
    ids = CaptionIds(config, layout)
    captions_n = (captions.n, [chunk.number for chunk in captions.chunks])
    state = inputs_digest(questions.n, questions.chunks, captions_n, ids.key())
    stored = read_json(layout.caption_links)
    if not isinstance(stored, dict) or stored.get("state") != state:
        links = linked_chunks(questions, layout, captions, ids)
        stored = {"state": state, "links": {str(number): chunks for number, chunks in links.items()}}
        write_json(layout.caption_links, stored)
    return {int(number): chunks for number, chunks in stored["links"].items()}


def _digest(names: list[str]) -> str:
    return hashlib.blake2b("\n".join(names).encode(), digest_size=DIGEST_BYTES).hexdigest()
