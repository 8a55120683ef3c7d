"""The captions of one prompt style as exports take them, sorted by id: memory does not grow with their number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from captionqa.client.chunk_result import ChunkResults, ResultLine
from captionqa.client.final_text import split_answer
from captionqa.config.settings import AnswerSettings, caption_prompt
from captionqa.dataset.image_ref import FileRef
from captionqa.dataset.item_entry import ItemEntry
from captionqa.errors import ResultError
from captionqa.external_sort import ExternalSort
from captionqa.files import read_json_lines

#: Records that a sort keeps in memory: captions may be long.
SORTED_RECORDS = 10_000
#: Why a caption ends with its last allowed token.
CUT = "length"


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption with its images; all fields are JSON values."""

    #: Its key in the captions JSON.
    id: str
    text: str
    #: What the model was asked.
    prompt: str
    #: The names of the model and of the prompt style.
    model: str
    style: str
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    #: Its images, as `dataset/image_ref.py` writes them.
    images: list[str]
    #: The digests of their contents, as clients took them.
    digests: list[str]
    #: The model's reasoning before it; empty where it gave none.
    thinking: str = ""

    @property
    def truncated(self) -> bool:
        """Whether it ended at max_tokens."""
        return self.finish_reason == CUT

    def circumstances(self) -> dict[str, object]:
        """How it was made, in the columns of the exports."""
        return {
            "model": self.model,
            "style": self.style,
            "prompt": self.prompt,
            "finish_reason": self.finish_reason,
            "truncated": self.truncated,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }

    def fields(self) -> list[object]:
        """Its fields in their order, from which `Caption(*fields)` makes it again."""
        return [getattr(self, name) for name in self.__slots__]


class CaptionStream:
    """The captions of the chunk results of one prompt style; counts those that it leaves out."""

    def __init__(
        self,
        chunks: Sequence[str],
        item_lists: Sequence[str],
        settings: AnswerSettings,
        style: str,
        scratch: Path,
        leave_out_truncated: bool = False,
    ):
        self.exported = self.left_out = self.failed = 0
        self._results = ChunkResults(chunks, settings)
        self._item_lists = item_lists
        self._settings, self._style = settings, style
        self._scratch = scratch
        self._leave_out_truncated = leave_out_truncated

    def captions(self) -> Iterator[Caption]:
        """Yield the captions; can be read once.

        Raises:
            ResultError: a chunk result is incomplete, or belongs to other item lists.
        """
        for line, images in self._with_images(self._results.lines()):
            if "answer" not in line:
                self.failed += 1
                continue
            answer = line["answer"]
            thinking, text = split_answer(answer)
            if not text:
                self.failed += 1
                continue
            if self._leave_out_truncated and answer["finish_reason"] == CUT:
                self.left_out += 1
                continue
            self.exported += 1
            yield Caption(
                line["id"],
                text,
                caption_prompt(self._settings, len(images)),
                self._settings["model"],
                self._style,
                answer["finish_reason"],
                answer["prompt_tokens"],
                answer["completion_tokens"],
                images,
                line["files"],
                thinking,
            )

    def _with_images(self, lines: Iterator[ResultLine]) -> Iterator[tuple[ResultLine, list[str]]]:
        entries: Iterator[ItemEntry] = chain.from_iterable(map(read_json_lines, self._item_lists))
        first = next(entries, None)
        if first is None or "images" not in first:  # a folder of images: the id is the path
            yield from ((line, [str(FileRef(line["id"]))]) for line in lines)
            return
        with ExternalSort(self._scratch) as named:
            for entry in chain([first], entries):
                named.add((entry["id"], entry["images"]))
            items = iter(named)
            for line in lines:
                item, images = next(items, ("", []))
                if item != line["id"]:
                    raise ResultError(
                        f"{line['id']!r} is in a chunk result and not in the item lists; delete the chunks folder and "
                        "run again, the answers are in the journal."
                    )
                yield line, images
