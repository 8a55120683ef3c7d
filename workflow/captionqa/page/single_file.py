"""The page as one file, for Snakemake's report: a part of the items, with their thumbnails and all scripts inside.

It names no folder of the machine that made it: who gets a report need not know them.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captionqa.files import atomic_writer
from captionqa.page import captions, questions
from captionqa.page.page_lists import PageContents, PageList
from captionqa.page.sample import Kind, Sample
from captionqa.page.script_data import script
from captionqa.page.thumbnails import PageImage

#: The most items of each kind and list.
LIMITS: dict[Kind, int] = {"failed": 30, "wrong": 60, "other": 40}
_SCRIPT = re.compile(r'<script src="([a-z]+\.js)"></script>')
_STYLE = '<link rel="stylesheet" href="page.css">'


def write_single_file(
    path: Path, folder: Path, overview: Mapping[str, Any], contents: PageContents, figures: Mapping[str, Any]
) -> None:
    """Write the file from the page that is in `folder`, whose thumbnails are made.

    Raises:
        OSError: the file cannot be written.
    """
    hidden = hidden_folders(contents)
    data = [script("run", figures), script("overview", without_folders({**overview, **_few(contents)}, hidden))]
    for shown in contents.lists:
        cards = [_card(item, shown, folder) for item in _chosen(shown)]
        data.append(script(f"{shown.name}-0", without_folders(cards, hidden)))
    html = (folder / "index.html").read_text(encoding="utf-8")
    style = (folder / "page.css").read_text(encoding="utf-8")
    scripts = [(folder / name).read_text(encoding="utf-8") for name in _SCRIPT.findall(html)]
    # the data follow the script that receives them
    scripts[1:1] = data
    policy = f"script-src {' '.join(map(_hash, scripts))}; style-src {_hash(style)}; img-src data:;"
    html = re.sub(r"script-src .*?img-src [^;]*;", lambda _: policy, html)
    html = html.replace(_STYLE, f"<style>{style}</style>")
    head, tail = _SCRIPT.split(html)[0], _SCRIPT.split(html)[-1]
    with atomic_writer(path) as file:
        file.write(head + "\n".join(f"<script>{text}</script>" for text in scripts) + tail)


def hidden_folders(contents: PageContents) -> dict[str, str]:
    """{a folder or file of this machine: what is shown in its place}, the longest first."""
    paths = {path for part in contents.parts for path in part["data"]} | {each.dataset for each in contents.lists}
    paths |= {contents.model["path"]} if os.path.isabs(contents.model["path"]) else set()
    names = {form: os.path.basename(path.rstrip("/")) for path in paths for form in (path, os.path.realpath(path))}
    return {form: names[form] for form in sorted(names, key=len, reverse=True) if "/" in form}


def without_folders(value: Any, hidden: Mapping[str, str]) -> Any:
    """A JSON value with the names of files in place of whole paths."""
    text = json.dumps(value)
    for path, name in hidden.items():
        text = text.replace(json.dumps(path)[1:-1], json.dumps(name)[1:-1])
    return json.loads(text)


def _few(contents: PageContents) -> dict[str, Any]:
    """The parts of the overview that describe the lists, for the items that are chosen."""
    indexes: dict[str, Any] = {}
    for shown in contents.lists:
        items = _chosen(shown)
        if shown.name == "captions":
            few = captions.caption_index(items, shown.index["styles"])
            counts = {"duplicate": sum(shown.index["duplicate"]), **shown.index["counts"]}
            indexes[shown.name] = {**shown.index, **few, "counts": counts}
        else:
            columns = len(shown.index["columns"])
            indexes[shown.name] = {**shown.index, **questions.question_index(items, columns)}
        indexes[shown.name]["shard_items"] = max(1, len(items))
    return indexes


def _chosen(shown: PageList) -> list[Any]:
    """Some items of each kind, in the page's order."""
    is_captions = shown.name == "captions"
    sample: Sample[int] = Sample(LIMITS)
    for number, item in enumerate(shown.items):
        kind = captions.kind_of(item) if is_captions else questions.kind_of(item)
        sample.add(kind, item["name"] if is_captions else item["qid"], number)
    return [shown.items[number] for number in sorted(sample)]


def _card(item: Mapping[str, Any], shown: PageList, folder: Path) -> dict[str, Any]:
    return shown.card(item, {text: _inside(shown.images[text], folder) for text in item["images"]})


def _inside(image: PageImage, folder: Path) -> PageImage:
    """An image with its thumbnail as an address that holds it, and without a link to its file."""
    if image["thumbnail"] is None:
        return image | {"original": None}
    data = base64.b64encode((folder / image["thumbnail"]).read_bytes()).decode()
    return image | {"thumbnail": f"data:image/jpeg;base64,{data}", "original": None}


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
