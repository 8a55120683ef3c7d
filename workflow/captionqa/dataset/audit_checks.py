"""The checks of an audit: what is wrong with each image and question of a task as it will be asked, or odd about it."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.prompts import IMAGE_MARK
from captionqa.config.settings import caption_settings, image_budget_px, qa_settings
from captionqa.dataset.findings import Finding, FindingKind
from captionqa.dataset.image_format import promised_format
from captionqa.dataset.image_header import Header, bytes_header, read_header
from captionqa.dataset.image_ref import FileRef
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.places import entry_place
from captionqa.errors import ItemFailure
from captionqa.threads import blocks

#: Items whose headers are read before the next ones.
BATCH_ITEMS = 2048
#: The image processors of Qwen's models reject a picture whose longer side is more than this many times the shorter.
MAX_SIDES_RATIO = 200


class TaskChecks:
    """Checks the items of one task; memory grows only with the number of different images."""

    def __init__(self, config: Config, layout: Layout, task: Task, pool: ThreadPoolExecutor):
        """`pool` reads the headers of images."""
        model = config.models[layout.model]
        self._task = task
        self._pool = pool
        self._sources = ImageSources.of_task(config, task)
        # how many images an existing server accepts is not known
        self._max_images = None if model.url else model.server.limit_images_per_prompt
        self._settings = (
            caption_settings(config, layout.model, config.prompt_styles[0])
            if task == "captions"
            else qa_settings(config, layout.model)
        )
        self._limits = self._settings["images"]
        #: By size in bytes: the first image of that size, None once it is in `_by_digest`.
        self._by_size: dict[int, str | None] = {}
        #: By content digest: the first image of that content.
        self._by_digest: dict[bytes, str] = {}
        #: The content digests of images in containers, which are read as a whole for their headers.
        self._contained: dict[str, bytes] = {}
        self._shrunk: set[str] = set()
        self._place: int | None = None
        #: By text and images: the first such question at `_place`.
        self._questions: dict[tuple[str, ...], str] = {}

    def findings(self, items: Iterator[ItemEntry]) -> Iterator[Finding]:
        """Yield what is found on the task's items, which come in the order of their item lists."""
        return self._caption_findings(items) if self._task == "captions" else self._question_findings(items)

    def _caption_findings(self, items: Iterator[ItemEntry]) -> Iterator[Finding]:
        for batch in blocks(items, BATCH_ITEMS):
            names = [item.get("images", [str(FileRef(item["id"]))]) for item in batch]
            headers = self._pool.map(self._header, chain.from_iterable(names))
            for item, images in zip(batch, names, strict=True):
                found = [(name, next(headers)) for name in images]
                for (name, header), stamp in zip(found, item["stamps"], strict=True):
                    yield from self._file_findings(name, stamp, header)
                yield from _count_findings(item["id"], len(images), self._max_images)
                yield from self._request_findings(item["id"], found)

    def _question_findings(self, items: Iterator[ItemEntry]) -> Iterator[Finding]:
        headers: dict[str, Header | ItemFailure] = {}
        for batch in blocks(items, BATCH_ITEMS):
            stamps = {name: stamp for item in batch for name, stamp in zip(item["images"], item["stamps"], strict=True)}
            unread = [name for name in stamps if name not in headers]
            headers |= zip(unread, self._pool.map(self._header, unread), strict=True)
            for name in unread:
                yield from self._file_findings(name, stamps[name], headers[name])
            for item in batch:
                yield from _text_findings(item, self._max_images)
                yield from self._duplicate_question(item)
                yield from self._request_findings(item["id"], [(name, headers[name]) for name in item["images"]])

    def _duplicate_question(self, item: ItemEntry) -> Iterator[Finding]:
        """Questions on the same images share a place and come one after another, so only these are remembered."""
        if (place := entry_place(item)) != self._place:
            self._place, self._questions = place, {}
        first = self._questions.setdefault((item["question"], *item["images"]), item["id"])
        if first != item["id"]:
            yield Finding(item["id"], FindingKind.DUPLICATE_QUESTION, f"its text and images are those of {first}")

    def _header(self, name: str) -> Header | ItemFailure:
        try:
            source = self._sources.find(name)
            if (path := source.file()) is not None:
                return read_header(path, self._limits)
        except ItemFailure as failure:
            return failure
        try:
            data, _ = source.read()
            self._contained[name] = hashlib.sha256(data).digest()
            return bytes_header(data, self._limits)
        except ItemFailure as failure:
            return ItemFailure(failure.reason, f"{source.described()}: {failure.detail}")

    def _file_findings(self, name: str, stamp: list[int] | None, header: Header | ItemFailure) -> Iterator[Finding]:
        """What is odd about a file, whichever items use it; a file that fails is reported by those items."""
        if isinstance(header, ItemFailure):
            return
        size = f"{header.width} x {header.height} pixels"
        if promised_format(name) not in (None, header.format):
            yield Finding(name, FindingKind.WRONG_SUFFIX, f"its content is {header.format}")
        if header.animated:
            yield Finding(name, FindingKind.ANIMATED_IMAGE, "more pictures follow the first")
        if header.other_colours and self._limits.get("colour") != "as_is":
            yield Finding(name, FindingKind.OTHER_COLOURS, "an embedded profile that is not sRGB")
        if min(header.width, header.height) < self._limits["pixel_grid_px"]:
            yield Finding(name, FindingKind.TINY_IMAGE, f"{size}; the model's grid is {self._limits['pixel_grid_px']}")
        if stamp is not None and (first := self._identical_image(name, stamp[0])):
            yield Finding(name, FindingKind.DUPLICATE_IMAGE, f"its bytes are those of {first}")

    def _request_findings(self, item: str, images: list[tuple[str, Header | ItemFailure]]) -> Iterator[Finding]:
        """What becomes of an item's images in its request: a failure, or the size that they are sent in."""
        budget_px = image_budget_px(self._settings, len(images))
        for name, header in images:
            if isinstance(header, ItemFailure):
                yield Finding(item, FindingKind(header.reason), header.detail)
                return
            if budget_px is not None and header.width * header.height > budget_px:
                if name not in self._shrunk:
                    yield Finding(name, FindingKind.SHRUNK_IMAGE, f"more than {budget_px} pixels")
                self._shrunk.add(name)
            elif max(header.width, header.height) > MAX_SIDES_RATIO * min(header.width, header.height):
                yield Finding(item, FindingKind.STRIP_IMAGE, f"{name}: {header.width} x {header.height} pixels")

    def _identical_image(self, name: str, size: int) -> str | None:
        """An earlier image with the same bytes, or None; `size` is in bytes, and only images of one size are read."""
        if size not in self._by_size:
            self._by_size[size] = name
            return None
        if first := self._by_size[size]:
            self._by_size[size] = None
            self._by_digest[self._digest(first)] = first
        earlier = self._by_digest.setdefault(self._digest(name), name)
        return None if earlier == name else earlier

    def _digest(self, name: str) -> bytes:
        try:
            if (digest := self._contained.pop(name, None)) is not None:
                return digest
            return hashlib.sha256(self._sources.find(name).read()[0]).digest()
        except (OSError, ItemFailure):  # changed since its header was read; its name makes it like no other
            return name.encode("utf-8", "surrogateescape")


def _text_findings(item: ItemEntry, max_images: int | None) -> Iterator[Finding]:
    """What is wrong or odd about a question's `<image>` marks and its number of images."""
    marks, images = item["question"].count(IMAGE_MARK), len(item["images"])
    counted = f"the text has {marks} {IMAGE_MARK} marks for {images} images"
    if marks > images:
        yield Finding(item["id"], FindingKind.MISSING_IMAGE, counted)
    elif marks not in (0, images):
        yield Finding(item["id"], FindingKind.IMAGE_MARKS, counted)
    yield from _count_findings(item["id"], images, max_images)


def _count_findings(item: str, images: int, max_images: int | None) -> Iterator[Finding]:
    if max_images is not None and images > max_images:
        limit = f"server.limit_images_per_prompt is {max_images}"
        yield Finding(item, FindingKind.TOO_MANY_IMAGES, f"{images}; {limit}")
