"""The captions that a chunk's questions are asked with in place of their images."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from captionqa.client.chunk_result import ChunkResults, ResultLine
from captionqa.client.final_text import caption_text
from captionqa.client.schema_answer import readable
from captionqa.config.config import Config
from captionqa.config.contexts import Context
from captionqa.config.layout import Layout
from captionqa.config.settings import caption_settings
from captionqa.dataset.caption_ids import CaptionIds, caption_in_file
from captionqa.dataset.caption_links import file_digest
from captionqa.errors import InputError, ItemFailure, Reason
from captionqa.files import read_json_lines


class QuestionCaptions:
    """The captions of the images of questions. Immutable, so that threads may share it."""

    def __init__(
        self,
        lines: Mapping[str, ResultLine],
        ids: Mapping[str, str],
        in_file: Mapping[str, str],
        is_json: bool = False,
    ):
        """`lines` has the results of captions by their ids, and `ids` these by image; `in_file` is {key: caption}.

        `is_json`: the results are of a schema, and questions have them as `readable` texts.
        """
        self._lines = lines
        self._ids = ids
        self._in_file = in_file
        self._is_json = is_json

    @classmethod
    def read(
        cls, config: Config, layout: Layout, context: Context, item_list: Path, paths: Sequence[str]
    ) -> "QuestionCaptions":
        """The captions of the questions of an item list, from chunk results or from the one file of captions.

        Raises:
            ResultError: a chunk result is damaged or of other settings.
            InputError: the file is none of captions.
        """
        images = {image for entry in read_json_lines(item_list) for image in entry["images"]}
        return cls.of_images(config, layout, context, images, paths)

    @classmethod
    def of_images(
        cls, config: Config, layout: Layout, context: Context, images: Collection[str], paths: Sequence[str]
    ) -> "QuestionCaptions":
        """The captions of some images, as for `read`."""
        if context.file is not None:
            return cls({}, {}, read_caption_file(context.file))
        assert context.captions is not None, "only a context of captions has any"
        ids = CaptionIds(config, layout).ids(images)
        settings = caption_settings(config, context.captioned_by(layout.model), context.captions)
        return cls(_lines_of(set(ids.values()), ChunkResults(paths, settings)), ids, {}, "schema" in settings)

    def of(self, image: str, qid: str, images: int) -> str:
        """The caption of an image of the question `qid`, which has so many images.

        Raises:
            ItemFailure: missing_caption, or as the caption failed.
        """
        if self._in_file:
            text = caption_in_file(self._in_file, image, qid, images)
            if text is None:
                raise ItemFailure(Reason.MISSING_CAPTION, f"qa.captions_from has no caption of {_shown(image)}")
            return text
        line = self._lines.get(self._ids.get(image, ""))
        if line is None:
            advice = "without captions.dataset_path each image of the questions gets one"
            raise ItemFailure(
                Reason.MISSING_CAPTION, f"{_shown(image)} has no caption of its own in this run; {advice}"
            )
        if "failure" in line:
            raise ItemFailure(Reason(line["failure"]), f"the caption of {_shown(image)} failed: {line['detail']}")
        text = caption_text(line["answer"])
        return readable(text) if self._is_json else text


def read_caption_file(path: str) -> dict[str, str]:
    """The captions {key: caption} of a JSON file; raises InputError where it holds anything else."""
    try:
        captions = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"qa.captions_from: {path} cannot be read: {error}.") from error
    if not isinstance(captions, dict) or not captions or not all(isinstance(each, str) for each in captions.values()):
        raise InputError(f"qa.captions_from: {path} is no JSON object of captions, as {{image path: caption}}.")
    return captions


def planned_captions(
    config: Config, layout: Layout, context: Context, item_list: Path, paths: Sequence[str], digest: str
) -> QuestionCaptions:
    """As `QuestionCaptions.read`; `digest` is that in the name of the chunk's result.

    Raises:
        InputError: also where the file of captions is not as the driver found it.
    """
    if context.file is not None and file_digest(context.file) != digest.partition(".")[2]:
        raise InputError(f"qa.captions_from: {context.file} changed since this run began; run the same command again.")
    return QuestionCaptions.read(config, layout, context, item_list, paths)


def _lines_of(ids: Collection[str], results: ChunkResults) -> dict[str, ResultLine]:
    return {line["id"]: line for line in results.lines() if line["id"] in ids}


def _shown(image: str) -> str:
    return repr(image[:200])
