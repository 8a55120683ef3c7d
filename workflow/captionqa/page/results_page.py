"""The results page: everything that its folder holds, written from the final files.

index.html, page.css, page.js   the same for all runs
data/overview.js                what ran and how good it is; and of each item what filters need
data/run.js                     where the time went and how busy the server was; the end of the run completes it
data/questions-0.js ...         the questions, data/captions-0.js ... the captions, loaded when they are shown
data/failures-0.js ...          a row for each failure, where the page has a sample of the items
thumbs/                         the thumbnails; the next page takes over those that it needs
results.html, tables.html       a part of it in one file, and its figures as tables, for Snakemake's report
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

from captionqa import PACKAGE
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.files import atomic_writer, read_json
from captionqa.page.answer_columns import answer_columns
from captionqa.page.captions import alternative_text
from captionqa.page.page_lists import PageContents, PageList, complete_contents
from captionqa.page.pictures import Pictures
from captionqa.page.run_figures import run_figures
from captionqa.page.script_data import write_script
from captionqa.page.single_file import write_single_file
from captionqa.page.tables import write_tables
from captionqa.page.thumbnails import PageImage, remove_unused
from captionqa.results.metrics import QaMetrics

ASSETS = PACKAGE / "page" / "assets"
HTML = "index.html"
#: How long thumbnails are made for a sample of very many items; those that are missing then are left to the next page.
SAMPLE_THUMBNAILS_S = 150.0


def write_page(config: Config, layout: Layout, thumbnails_s: float = inf) -> None:
    """Write the page of the final files, and make thumbnails for at most this long.

    Raises:
        ResultError: a final file or a chunk result is missing or incomplete.
        OSError: the folder cannot be written.
    """
    folder = Path(layout.page).parent
    contents, figures = complete_contents(config, layout), run_figures(config, layout)
    overview = overview_of(contents, config.data_set)
    time_s = SAMPLE_THUMBNAILS_S if any(each.is_sampled for each in contents.lists) else inf
    pictures = Pictures.configured(config.client.images, folder / "thumbs", min(time_s, thumbnails_s))
    write_folder(folder, overview, contents, pictures, figures)
    write_single_file(Path(layout.page_in_one_file), folder, overview, contents, figures)
    write_tables(Path(layout.page_tables), contents, _metrics(config, layout), config.data_set)
    remove_unused(folder / "thumbs", pictures.all())


def _metrics(config: Config, layout: Layout) -> dict[str, QaMetrics]:
    """{label of a column: its metrics}."""
    found = {column.label: read_json(column.answers.companion("metrics")) for column in answer_columns(config, layout)}
    return {label: metrics for label, metrics in found.items() if metrics is not None}


def overview_of(contents: PageContents, data_set: str) -> dict[str, Any]:
    """The overview of a run's page, or of one of its named data sets."""
    return {
        "data_set": data_set,
        "model": contents.model,
        "parts": contents.parts,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **{each.name: each.index for each in contents.lists},
    }


def write_folder(
    folder: Path, overview: Mapping[str, Any], contents: PageContents, pictures: Pictures, figures: Mapping[str, Any]
) -> None:
    """Write a page: its data, the thumbnails that are not there yet, and at last the page itself.

    Raises:
        OSError: the folder cannot be written.
    """
    data = fresh_data(folder)
    for each in contents.lists:
        images = each.images
        images.update(list_images(each, pictures))
        for number, start in enumerate(range(0, len(each.items), each.index["shard_items"])):
            cards = [each.card(item, images) for item in each.items[start : start + each.index["shard_items"]]]
            write_script(data, f"{each.name}-{number}", cards)
    if contents.failures is not None:
        overview = {**overview, "failures": contents.failures.write(data)}
    finish_folder(folder, overview, figures)


def fresh_data(folder: Path) -> Path:
    """The empty folder of a page's data."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    for earlier in data.glob("*.js"):
        earlier.unlink()
    return data


def finish_folder(folder: Path, overview: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Write what each page has beside its lists, at last the page itself."""
    write_script(folder / "data", "run", figures)
    write_script(folder / "data", "overview", overview)
    for asset in sorted(ASSETS.iterdir(), key=lambda path: path.name == HTML):
        with atomic_writer(folder / asset.name) as file:
            file.write(asset.read_text(encoding="utf-8"))


def list_images(shown: PageList, pictures: Pictures) -> Mapping[str, PageImage]:
    """The images of a list by their references, with the captions that describe them."""
    images = pictures.of(shown.dataset, [(item["images"], item["has_pictures"]) for item in shown.items])
    if shown.name == "captions":
        for item in shown.items:
            for text in item["images"]:
                images[text]["caption"] = alternative_text(item)
    return images
