"""The files of images that questions name: their stamps, and what they are called on the disk."""

from collections.abc import Mapping
from pathlib import Path

from captionqa.dataset.image_ref import FileRef, ImageRef
from captionqa.dataset.image_variants import ImageVariants, path_variants
from captionqa.dataset.item_entry import Stamp
from captionqa.dataset.question_row import InvalidRow, QuestionRow
from captionqa.dataset.scan import NamedImages


class NamedFiles:
    """Finds the images of questions below the folder of the data set."""

    def __init__(self, dataset: Path, images: NamedImages):
        """`images` takes the stamps, and keeps them for the next plan."""
        self._dataset = dataset
        self._variants = ImageVariants(dataset)
        self._images = images

    def with_stamps(
        self, rows: list[QuestionRow | InvalidRow]
    ) -> tuple[list[QuestionRow | InvalidRow], dict[str, Stamp | None]]:
        """Rows with the names of their images as the files are called, and the stamps of these by name.

        Safe to call from several threads.
        """
        names = list(dict.fromkeys(name for row in rows if "invalid" not in row for name in row["images"]))
        stamps = dict(zip(names, self._images.stamps(names), strict=True))
        called: dict[str, str] = {}
        for name in [name for name, stamp in stamps.items() if stamp is None]:
            ref = ImageRef.parse(name)
            if isinstance(ref, FileRef) and (path := self._variants.find(ref.path)):
                called[name] = str(FileRef(path))
        if called:
            for row in rows:
                row["images"] = [called.get(name, name) for name in row["images"]]
            found = list(called.values())
            stamps |= zip(found, self._images.stamps(found), strict=True)
        return rows, stamps

    def add(self, stamps: Mapping[str, Stamp | None]) -> None:
        """Keep the stamps for the next plan, and that of a missing file there is none by any of its names."""
        kept = dict(stamps)
        for name in [name for name, stamp in stamps.items() if stamp is None]:
            ref = ImageRef.parse(name)
            for path in path_variants(ref.path) if isinstance(ref, FileRef) else ():
                kept.setdefault(str(FileRef(path)), None)
        self._images.add(list(kept), list(kept.values()))

    def where_else(self, name: str) -> str | None:
        """A sentence on where a missing file is, if it is in the folder above that of the data set."""
        ref = ImageRef.parse(name)
        if isinstance(ref, FileRef) and not ref.path.startswith("/"):
            above = self._dataset.parent
            if ImageVariants(above).exists(ref.path):
                return f"{ref.path} is not in {self._dataset} but in {above}: set qa.dataset_path to that"
        return None
