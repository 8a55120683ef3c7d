"""The page of results with all items, whose files are made from the results themselves when they are asked for."""

import io
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from captionqa.config.config import Config
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.config.settings import image_settings
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.plan import load_plan
from captionqa.errors import ItemFailure
from captionqa.page.captions import alternative_text, listed_images
from captionqa.page.item_spool import ItemSpool
from captionqa.page.page_lists import PageContents, PageList, complete_contents
from captionqa.page.results_page import ASSETS, overview_of
from captionqa.page.run_figures import run_figures
from captionqa.page.script_data import script
from captionqa.page.thumbnails import PageImage, Thumbnails, without_thumbnail

#: Kinds of images that a browser is shown as they are; others are only offered for download.
SHOWN_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp"})
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


class Reply(NamedTuple):
    """What a browser gets."""

    type: str
    data: bytes


class LivePage:
    """The page's files, made when they are asked for."""

    def __init__(self, config: Config, layout: Layout, folder: Path, phase_names: Mapping[str, str]):
        """`folder` is for temporary files.

        Raises:
            ResultError: a final file or a chunk result is missing or incomplete.
        """
        self._folder, self._config = folder, config
        self._contents: PageContents = complete_contents(config, layout, lambda items: ItemSpool(folder))
        self._lists = {each.name: each for each in self._contents.lists}
        self._figures = run_figures(config, layout, phase_names)
        captions = load_plan(layout, "captions").item_lists(layout, "captions") if "captions" in self._lists else []
        self._listed_images = listed_images(captions)
        self._lock = threading.Lock()
        #: The images that were named so far, as (data set, reference), and the number of each.
        self._images: list[tuple[str, str]] = []
        self._numbers: dict[tuple[str, str], int] = {}
        roots = [Path(root).resolve() for root in config.client.images.allowed_roots]
        settings = image_settings(config.client.images)
        datasets = {each.dataset: data_root(each.dataset) for each in self._contents.lists}
        self._sources = {name: ImageSources(root, roots) for name, root in datasets.items()}
        (folder / "thumbs").mkdir()
        self._thumbnails = {
            name: Thumbnails(folder / "thumbs", root, roots, settings) for name, root in datasets.items()
        }

    def reply(self, path: str) -> Reply | None:
        """The file at a path of the page; None where it has none."""
        if (asset := asset_reply(path)) is not None:
            return asset
        for pattern, answer in self._routes.items():
            if found := re.fullmatch(pattern, path):
                return answer(self, *found.groups())
        return None

    def _overview(self) -> Reply:
        return script_reply("overview", overview_of(self._contents, self._config.data_set))

    def _run(self) -> Reply:
        return script_reply("run", self._figures)

    def _shard(self, name: str, number: str) -> Reply | None:
        shown = self._lists.get(name)
        start = int(number) * (shown.index["shard_items"] if shown else 0)
        if shown is None or not start < len(shown.items):
            return None
        items = shown.items[start : start + shown.index["shard_items"]]
        return script_reply(f"{name}-{number}", [self._card(shown, item) for item in items])

    def _card(self, shown: PageList, item: dict[str, Any]) -> dict[str, Any]:
        described = None
        if shown.name == "captions":
            item["images"] = self._listed_images.get(item["name"], item["images"])
            described = alternative_text(item)  # type: ignore[arg-type]  # an item of captions
        images = {text: self._image(shown.dataset, text, item["has_pictures"], described) for text in item["images"]}
        return shown.card(item, images)

    def _image(self, dataset: str, text: str, is_shown: bool, caption: str | None) -> PageImage:
        image = without_thumbnail(text, None)
        if not is_shown:
            return image
        key = (dataset, text)
        with self._lock:
            if key not in self._numbers:
                self._numbers[key] = len(self._images)
                self._images.append(key)
            number = self._numbers[key]
        return image | {"thumbnail": f"thumbs/{number}.jpg", "original": f"images/{number}", "caption": caption}

    def _thumbnail(self, number: str) -> Reply | None:
        if int(number) >= len(self._images):
            return None
        dataset, text = self._images[int(number)]
        with self._lock:
            file = dict(self._thumbnails[dataset].images([text]))[text]["thumbnail"]
        return None if file is None else Reply("image/jpeg", (self._folder / file).read_bytes())

    def _original(self, number: str) -> Reply | None:
        from PIL import Image

        if int(number) >= len(self._images):
            return None
        dataset, text = self._images[int(number)]
        try:
            data = self._sources[dataset].find(text).read()[0]
            with Image.open(io.BytesIO(data)) as picture:
                kind = picture.get_format_mimetype() or ""
        except (ItemFailure, OSError):
            return None
        return Reply(kind if kind in SHOWN_TYPES else "application/octet-stream", data)

    #: {pattern of a path: what makes its file from the pattern's groups}.
    _routes: Mapping[str, Callable[..., Reply | None]] = {
        r"data/overview\.js": _overview,
        r"data/run\.js": _run,
        r"data/([a-z]+)-([0-9]{1,9})\.js": _shard,
        r"thumbs/([0-9]{1,9})\.jpg": _thumbnail,
        r"images/([0-9]{1,9})": _original,
    }


def asset_reply(path: str) -> Reply | None:
    """A file that is the same for all pages; None where the path is that of no such file."""
    if path not in {asset.name for asset in ASSETS.iterdir()}:
        return None
    return Reply(TYPES[Path(path).suffix], (ASSETS / path).read_bytes())


def script_reply(name: str, value: Any) -> Reply:
    """The script of a value."""
    return Reply(TYPES[".js"], script(name, value).encode())
