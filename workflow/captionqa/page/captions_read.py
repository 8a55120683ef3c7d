"""The captions that questions were asked with, for their cards."""

import os
from collections.abc import Collection, Sequence
from dataclasses import replace

from captionqa.client.question_captions import QuestionCaptions
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings, fingerprint
from captionqa.dataset.plan import load_plan
from captionqa.errors import InputError, ItemFailure
from captionqa.page.answer_columns import AnswerColumn
from captionqa.page.answers import cut
from captionqa.page.questions import QuestionItem
from captionqa.results.provenance import file_digest, read_provenance


class CaptionsRead:
    """The captions of all columns that have some."""

    def __init__(self, config: Config, layout: Layout, columns: Sequence[AnswerColumn], images: Collection[str]):
        """`images` are those of the questions that will be shown.

        Raises:
            ResultError: a chunk result is damaged or of other settings.
        """
        found = {number: _captions_of(config, layout, column, images) for number, column in enumerate(columns)}
        self._columns = {number: captions for number, captions in found.items() if captions is not None}

    def add_to(self, item: QuestionItem) -> None:
        """Add to a question's answers the captions that they are about."""
        for number, captions in self._columns.items():
            answer = item["answers"][number]
            if answer is not None:
                texts = [_text(captions, image, item) for image in item["images"]]
                if any(texts):
                    answer["captions"] = texts


def _text(captions: QuestionCaptions, image: str, item: QuestionItem) -> str | None:
    try:
        return cut(captions.of(image, item["qid"], len(item["images"])))
    except ItemFailure:
        return None


def _captions_of(
    config: Config, layout: Layout, column: AnswerColumn, images: Collection[str]
) -> QuestionCaptions | None:
    context = column.context
    if context.captions is None:
        return None
    if context.file is None:
        layout = replace(layout, model=context.captioned_by(column.answers.model))
        plan, settings = load_plan(layout, "captions"), caption_settings(config, layout.model, context.captions)
        results = plan.results(layout.captions_work(context.captions.lower()), fingerprint(settings))
        return QuestionCaptions.of_images(config, layout, context, images, list(filter(os.path.exists, results)))
    stored = read_provenance(column.answers.companion("provenance"))
    try:
        if stored is not None:
            with open(context.file, "rb") as file:
                if stored.get("captions", {}).get("fingerprint") != file_digest(file):
                    return None  # it has other captions by now
        return QuestionCaptions.of_images(config, layout, context, images, ())
    except (OSError, InputError):
        return None
