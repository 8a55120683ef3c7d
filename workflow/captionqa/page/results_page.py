"""The results page: everything that its folder holds, written from the final files.

index.html, page.css, page.js   the same for all runs
data/overview.js                what ran and how good it is; and of each item what filters need
data/questions-0.js ...         the questions, data/captions-0.js ... the captions, loaded when they are shown
thumbs/                         the thumbnails; the next page takes over those that it needs
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from captionqa import PACKAGE
from captionqa.config.config import Config
from captionqa.config.contexts import IMAGES
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings, caption_settings, fingerprint
from captionqa.dataset.plan import load_plan
from captionqa.errors import ResultError
from captionqa.files import atomic_writer, read_json
from captionqa.page import captions, questions
from captionqa.page.captions import CaptionItem
from captionqa.page.overview import Part, accuracy, model_facts, part
from captionqa.page.questions import QuestionItem
from captionqa.page.sample import Sample, limits_for
from captionqa.page.script_data import write_script
from captionqa.page.thumbnails import MAX_THUMBNAILS, PageImage, Thumbnails, remove_unused, without_thumbnail
from captionqa.results.provenance import Provenance, read_provenance

ASSETS = PACKAGE / "page" / "assets"
HTML = "index.html"
#: Items of a file that the page loads at once.
SHARD_ITEMS = 250


def write_page(config: Config, layout: Layout) -> None:
    """Write the page of the final files.

    Raises:
        ResultError: a final file or a chunk result is missing or incomplete.
        OSError: the folder cannot be written.
    """
    folder = Path(layout.page).parent
    data, thumbs = folder / "data", folder / "thumbs"
    shutil.rmtree(data, ignore_errors=True)
    for path in (data, thumbs):
        path.mkdir(parents=True, exist_ok=True)
    page = _Page(config, layout, folder)
    if config.captions is not None:
        page.add_captions()
    if config.qa is not None:
        page.add_questions()
    page.finish()


class _Page:
    """Collects what the page shows; its captions come first, since they are the alternative texts of images."""

    def __init__(self, config: Config, layout: Layout, folder: Path):
        self._config = config
        self._layout = layout
        self._folder = folder
        self._parts: list[Part] = []
        self._overview: dict[str, Any] = {"captions": None, "questions": None}
        self._model: dict[str, Any] = {}
        self._images: dict[str, dict[str, PageImage]] = {}

    def add_captions(self) -> None:
        layout, plan, counts = self._layout, load_plan(self._layout, "captions"), Counter[str]()
        chunks: dict[str, tuple[Sequence[str], AnswerSettings]] = {}
        for style in self._config.prompt_styles:
            self._add_part(f"Captions {style}", layout.captions(style.lower(), "_provenance"))
            settings = caption_settings(self._config, layout.model, style)
            paths = plan.results(layout.captions_work(style.lower()), fingerprint(settings))
            if gone := next((path for path in paths if not os.path.exists(path)), None):
                raise ResultError(
                    f"{gone} is missing, which the page needs beside the captions; set report.page: false, or run "
                    "`captionqa forget` for the captions and run again."
                )
            chunks[style] = paths, settings
        sample: Sample[CaptionItem] = Sample(limits_for(max(each["items"] for each in self._parts)))
        for item in captions.caption_items(chunks):
            counts.update({"all": 1, "failed": captions.is_failed(item), "truncated": captions.is_truncated(item)})
            sample.add(captions.kind_of(item), item["name"], item)
        items = sorted(sample, key=captions.page_order)
        captions.add_images(items, plan.item_lists(layout, "captions"))
        dataset = self._config.section("captions").dataset_path
        images = self._pictures(dataset, [(item["images"], item["has_pictures"]) for item in items])
        for item in items:
            for text in item["images"]:
                images[text]["caption"] = next((c["text"] for c in item["captions"].values() if "text" in c), None)
        self._write_shards(
            "captions",
            [
                {
                    "name": item["name"],
                    "captions": [item["captions"].get(style) for style in chunks],
                    "images": [images[text] for text in item["images"]],
                }
                for item in items
            ],
        )
        self._overview["captions"] = {
            "styles": list(chunks),
            "counts": dict(counts),
            "names": [item["name"] for item in items],
            "failed": list(map(captions.is_failed, items)),
            "truncated": list(map(captions.is_truncated, items)),
            "duplicate": captions.duplicates(items),
            "lengths": [[len(item["captions"].get(style, {}).get("text", "")) for style in chunks] for item in items],
            "shard_items": SHARD_ITEMS,
        }

    def add_questions(self) -> None:
        layout, counts = self._layout, Counter[str]()
        contexts = self._config.contexts
        suffix = (IMAGES if IMAGES in contexts else contexts[0]).suffix
        self._add_part("Questions", layout.qa("provenance", suffix))
        metrics = read_json(layout.qa("metrics", suffix))
        if metrics is None:
            raise _missing(layout.qa("metrics", suffix))
        rows = layout.question_rows(load_plan(layout, "qa").rows or "")
        sample: Sample[QuestionItem] = Sample(limits_for(metrics["total_questions"]))
        for item in questions.question_items(rows, layout.qa("results", suffix), layout.qa("failures", suffix)):
            counts.update({"all": 1, item["status"]: 1, "truncated": item["truncated"]})
            sample.add(questions.kind_of(item), item["qid"], item)
        items = sorted(sample, key=questions.page_order)
        dataset = self._config.section("qa").dataset_path
        images = self._pictures(dataset, [(item["images"], item["has_pictures"]) for item in items])
        self._write_shards(
            "questions", [{**item, "images": [images[text] for text in item["images"]]} for item in items]
        )
        self._overview["questions"] = {
            **accuracy(metrics),
            "counts": dict(counts),
            "qids": [item["qid"] for item in items],
            "status": [item["status"] for item in items],
            "truncated": [item["truncated"] for item in items],
            "shard_items": SHARD_ITEMS,
            **{key: _numbered([item[key] for item in items]) for key in ("category", "source", "rule")},
        }

    def finish(self) -> None:
        """Write the overview and, once all is there, the page itself."""
        used = [image for images in self._images.values() for image in images.values()]
        remove_unused(self._folder / "thumbs", used)
        made = datetime.now(UTC).isoformat(timespec="seconds")
        overview = {**self._overview, "model": self._model, "parts": self._parts, "made": made}
        write_script(self._folder / "data", "overview", overview)
        for asset in sorted(ASSETS.iterdir(), key=lambda path: path.name == HTML):
            with atomic_writer(self._folder / asset.name) as file:
                file.write(asset.read_text(encoding="utf-8"))

    def _add_part(self, name: str, provenance_path: str) -> None:
        stored: Provenance | None = read_provenance(provenance_path)
        if stored is None:
            raise _missing(provenance_path)
        self._parts.append(part(name, stored))
        self._model = model_facts(stored)

    def _pictures(self, dataset: str, items: Sequence[tuple[list[str], bool]]) -> dict[str, PageImage]:
        """The images of items by their references; of each item, whether its images are to be shown."""
        known = self._images.setdefault(dataset, {})
        wanted = dict.fromkeys(text for texts, are_shown in items if are_shown for text in texts if text not in known)
        room = MAX_THUMBNAILS - sum(map(len, self._images.values()))
        images = self._config.client.images
        roots = [Path(root).resolve() for root in images.allowed_roots]
        thumbnails = Thumbnails(self._folder / "thumbs", data_root(dataset), roots, images)
        known.update(thumbnails.images(islice(wanted, max(0, room))))
        for texts, are_shown in items:
            for text in texts:
                reason = f"only {MAX_THUMBNAILS:,} images have a thumbnail" if are_shown else None
                known.setdefault(text, without_thumbnail(text, reason))
        return known

    def _write_shards(self, name: str, items: Sequence[Mapping[str, Any]]) -> None:
        for number, start in enumerate(range(0, len(items), SHARD_ITEMS)):
            write_script(self._folder / "data", f"{name}-{number}", items[start : start + SHARD_ITEMS])


def _numbered(values: Sequence[str]) -> dict[str, list[Any]]:
    """A column of few different values: these, and of each item the number of its value."""
    names = sorted(set(values))
    numbers = {name: number for number, name in enumerate(names)}
    return {"names": names, "of": [numbers[value] for value in values]}


def _missing(path: str) -> ResultError:
    return ResultError(f"{path} is missing; run the workflow again to write it.")
