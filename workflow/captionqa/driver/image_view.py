"""What `captionqa data` says of images to caption: what each is called, and what is left out."""

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.config.settings import ImageSettings
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.image_header import read_header
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.item_entry import ItemEntry
from captionqa.dataset.skipped_files import skipped_text
from captionqa.driver.data_view import DataItem, table_names
from captionqa.driver.pixel_savings import sizes_text
from captionqa.errors import InputError, ItemFailure
from captionqa.files import read_json_lines

#: Names that are shown, and images whose size is looked at.
SHOWN_NAMES, SAMPLE = 3, 500
#: An image of any size is looked at.
IMAGE_SETTINGS: ImageSettings = {"max_pixels": None, "pixel_grid_px": 1, "max_source_pixels": sys.maxsize}
#: What a column of questions may be called.
_LIKE_QUESTIONS = re.compile(r"question|query|prompt|problem|instruction", re.IGNORECASE)


@dataclass(frozen=True)
class ImageView:
    """The images of a data set, as `captions.dataset_path` would take it."""

    path: str
    #: Names and numbers of images.
    found: list[tuple[str, int]]
    #: What is left out, odd or missing, a sentence each.
    notes: list[str]
    #: The pixels of a sample of those that are files of their own.
    stored_px: list[int]

    def items(self) -> Iterator[DataItem]:
        for name, images in self.found:
            yield {"id": name, "question": None, "choices": [], "gt": None, "gt_letter": None, "images": images}

    def wrong(self) -> list[str]:
        return ["read as images to caption, since it holds no questions", *self.notes]

    def text(self) -> str:
        """Its size and first names for a terminal."""
        names = ", ".join(name for name, _ in self.found[:SHOWN_NAMES])
        lines = [self.path, f"{len(self.found):,} images to caption, such as {names}", *self.wrong()]
        if self.stored_px:
            lines.append(sizes_text(self.stored_px, len(self.found)))
        return "\n  ".join(lines)


def look_at_images(path: str) -> ImageView | None:
    """Look at the images of a folder, a pattern or a file; None where there are none, or a column may ask of them."""
    with suppress(InputError):
        if any(map(_LIKE_QUESTIONS.search, table_names([path]))):
            return None
    try:
        with TemporaryDirectory() as folder:
            layout = Layout(folder, "data")
            plan = plan_captions(Path(path), 1, layout)
            lists = plan.item_lists(layout, "captions")
            entries = [entry for items in lists for entry in read_json_lines(Path(items))]
    except InputError:
        return None
    found = sorted((entry["id"], len(entry.get("images", (entry["id"],)))) for entry in entries)
    notes = [*plan.faults, *plan.notes, *filter(None, [skipped_text(plan.skipped)])]
    return ImageView(path, found, notes, list(_stored_px(data_root(path), entries[:SAMPLE])))


def _stored_px(folder: Path, entries: list[ItemEntry]) -> Iterator[int]:
    """The pixels of images that are files; those in containers would have to be read as a whole."""
    sources = ImageSources(folder)
    for entry in entries:
        if "images" not in entry:
            with suppress(ItemFailure):
                header = read_header(sources.find_file(entry["id"]).path, IMAGE_SETTINGS)
                yield header.width * header.height
