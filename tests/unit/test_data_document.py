"""Each example in docs/data.md is planned: its configuration is taken from the page."""

import re
from pathlib import Path

import pytest
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.image_source import ImageSources
from captionqa.files import read_json_lines
from projects import ROOT
from shard_files import image_table, save_to_disk, write_parquet, write_tar

TABLE = re.findall(r"^\| (.+?) \| `dataset_path: (.+?)` \|", (ROOT / "docs" / "data.md").read_text(), re.MULTILINE)
PICTURES = {f"in/{number}.png": f"image {number}".encode() for number in range(4)}


def folder(path):
    for name, data in PICTURES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def imagefolder(path):
    (folder(path) / "metadata.csv").write_text("file_name,text\nin/0.png,x\n")


def parts(path, write, name):
    for number, (key, data) in enumerate(PICTURES.items()):
        write(path / name.format(number), {key: data})


#: How the data of each example is made, by the path that its configuration names.
MAKERS = {
    "images": folder,
    "train": imagefolder,
    "train.parquet": lambda path: write_parquet(path, PICTURES),
    "data": lambda path: parts(path, write_parquet, "{}.parquet"),
    "data/train-*.parquet": lambda path: parts(path.parent, write_parquet, "train-{}.parquet"),
    "00000.tar": lambda path: write_tar(path, PICTURES),
    "shards": lambda path: parts(path, write_tar, "{}.tar"),
    "shards/{00000..00003}.tar": lambda path: parts(path.parent, write_tar, "{:05d}.tar"),
    "ds": lambda path: save_to_disk(path, [image_table(PICTURES)]),
}


def test_every_example_has_its_data():
    assert {path for _, path in TABLE} == set(MAKERS)


@pytest.mark.parametrize(("what", "path"), TABLE, ids=[path for _, path in TABLE])
def test_an_example_reads_its_images(tmp_path, monkeypatch, make_config, what, path):
    monkeypatch.chdir(tmp_path)
    MAKERS[path](Path(path))
    config = make_config({"captions": {"dataset_path": path}}).section("captions")
    layout = Layout(str(tmp_path / "output"), "tiny")
    plan = plan_captions(Path(config.dataset_path), 1, layout, config.columns)
    sources = ImageSources(data_root(config.dataset_path))
    entries = [entry for items in plan.item_lists(layout, "captions") for entry in read_json_lines(items)]
    found = {entry["id"]: sources.find(entry.get("images", [entry["id"]])[0]).read()[0] for entry in entries}
    is_tar = path.endswith(".tar") or path == "shards"
    assert found == {name.removesuffix(".png") if is_tar else name: data for name, data in PICTURES.items()}
