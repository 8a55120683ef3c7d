"""Which caption is that of an image of a question: the names under which captions know the images of questions."""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath

from captionqa.config.config import Config
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.dataset.image_ref import ContainedRef, DataRef, FileRef, ImageRef, MemberRef
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.places import entry_place
from captionqa.dataset.plan import Plan, load_plan
from captionqa.files import read_json_lines

DIGEST_BYTES = 12


def question_image_entry(image: str, stamp: list[int] | None) -> ItemEntry:
    """The entry of an image of a question in the item lists of captions, where these are of the questions' images."""
    ref = ImageRef.parse(image)
    if isinstance(ref, FileRef):
        return {"id": ref.path, "stamps": [stamp]}
    if isinstance(ref, DataRef):  # too long for a name
        digest = hashlib.blake2b(ref.uri.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
        return {"id": f"data:{digest}", "images": [image], "stamps": [stamp]}
    return {"id": image, "images": [image], "stamps": [stamp]}


class CaptionIds:
    """The ids of this run's captions by the images of its questions."""

    def __init__(self, config: Config, layout: Layout):
        captions = config.section("captions")
        self._lists = load_plan(layout, "captions").item_lists(layout, "captions")
        self._of_questions = captions.of_questions
        self._questions_root = data_root(config.section("qa").data_path)
        self._captions_root = data_root(captions.data_path)
        #: Whether captions are of shards, whose images only their item lists name.
        self.in_lists = not captions.of_questions and any("images" in entry for entry in _firsts(self._lists))

    def key(self) -> tuple[object, ...]:
        """Equal where equal images are in equal places."""
        return self._of_questions, self.in_lists, self._questions_root, self._captions_root

    def place(self, image: str) -> int:
        """The place of an image's caption in the hash range; not for captions of shards."""
        if self._of_questions:
            return entry_place(question_image_entry(image, None))
        return entry_place({"id": self._relative(image), "stamps": []})

    def ids(self, images: Collection[str]) -> dict[str, str]:
        """{image: id of its caption}; without the images of which it is known that they have none."""
        if self.in_lists:
            return self._ids_in_lists(images)
        if self._of_questions:
            return {image: question_image_entry(image, None)["id"] for image in images}
        return {image: self._relative(image) for image in images if isinstance(ImageRef.parse(image), FileRef)}

    def _relative(self, image: str) -> str:
        """The path of a question's image, relative to the folder of the captions."""
        ref = ImageRef.parse(image)
        path = ref.path if isinstance(ref, FileRef) else image
        return os.path.relpath(os.path.join(self._questions_root, path), self._captions_root)

    def _ids_in_lists(self, images: Collection[str]) -> dict[str, str]:
        """The ids by the item lists of shards; items with several images have no caption of a single one."""
        wanted: dict[str, list[str]] = {}
        for image in images:
            wanted.setdefault(_absolute(image, self._questions_root), []).append(image)
        found: dict[str, str] = {}
        for path in self._lists:
            for entry in read_json_lines(path):
                references = entry.get("images", [str(FileRef(entry["id"]))])
                if len(references) == 1:
                    for image in wanted.get(_absolute(references[0], self._captions_root), ()):
                        found[image] = entry["id"]
        return found


def linked_chunks(questions: Plan, layout: Layout, captions: Plan, ids: CaptionIds) -> dict[int, list[int]]:
    """{chunk of questions: the chunks of captions that hold those of its images}."""
    every = [chunk.number for chunk in captions.chunks]
    if ids.in_lists:
        return {chunk.number: every for chunk in questions.chunks}
    existing, links = set(every), {}
    for chunk, path in zip(questions.chunks, questions.item_lists(layout, "qa"), strict=True):
        images = {image for entry in read_json_lines(path) for image in entry["images"]}
        links[chunk.number] = sorted({captions.chunk_of(ids.place(image)) for image in images} & existing)
    return links


def caption_in_file(captions: Mapping[str, str], image: str, qid: str, images: int) -> str | None:
    """The caption of a question's image in {key: caption}; None where there is none.

    A key is the image's path, that path without its suffix, or where the question has one image its qid, or the part
    before the slash of such as nat_001/0, the row of several questions, as in the leaderboard file of CaptionQA.
    """
    ref = ImageRef.parse(image)
    name = ref.path if isinstance(ref, FileRef) else ref.name if isinstance(ref, MemberRef) else image
    keys = [name, str(PurePath(name).with_suffix("")), *([qid, qid.rpartition("/")[0]] if images == 1 else [])]
    return next((captions[key] for key in keys if key in captions), None)


def _absolute(image: str, root: Path) -> str:
    """The reference with an absolute path, so that those of two folders can be compared."""
    ref = ImageRef.parse(image)
    if isinstance(ref, FileRef):
        return os.path.normpath(os.path.join(root, ref.path))
    if isinstance(ref, ContainedRef):
        return str(replace(ref, container=os.path.normpath(os.path.join(root, ref.container))))
    return image


def _firsts(lists: list[str]) -> Iterator[ItemEntry]:
    """The first entry of the first list; none where there are no lists."""
    for path in lists[:1]:
        yield next(read_json_lines(path))
