"""Presets of images to caption: what each reads of a data set in its form, and lists of images in another folder."""

import json

import pandas as pd
import pytest
import yaml
from captionqa.config.check import check
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.config.presets import CAPTION_FOLDER, preset_names
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.plan import check_plans, load_plan
from captionqa.dataset.planning import plan_task
from captionqa.errors import ConfigError, InputError
from captionqa.files import read_json_lines
from shard_files import write_parquet, write_tar

A, B, OTHER = b"image a", b"image b", b"image of a readme"


@pytest.fixture
def read(tmp_path, make_config):
    """{key of a caption: the bytes that would be sent} of a configuration of captions."""

    def plan(**captions):
        config = make_config({"captions": {**captions, "dataset_path": str(tmp_path / captions["dataset_path"])}})
        layout = Layout(str(tmp_path / "output"), "tiny")
        made = plan_task(config, layout, "captions")
        sources = ImageSources(data_root(config.section("captions").data_path))
        entries = [entry for items in made.item_lists(layout, "captions") for entry in read_json_lines(items)]
        plan.check = lambda: check_plans(config, layout)
        plan.notes = load_plan(layout, "captions").notes
        found = {}
        for entry in entries:
            (image,) = entry.get("images", [entry["id"]])
            found[entry["id"]] = sources.find(image).read()[0] if entry["stamps"][0] else None
        return found

    return plan


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content) if isinstance(content, bytes) else path.write_text(json.dumps(content))


def coco(folder):
    images = [{"file_name": "a.jpg", "id": 1, "coco_url": "http://x"}, {"file_name": "b.jpg", "id": 2}]
    annotations = [{"image_id": 1, "id": 5, "caption": "A room."}, {"image_id": 1, "id": 6, "caption": "Another."}]
    put(folder / "annotations" / "c.json", {"info": {}, "images": images, "annotations": annotations})
    put(folder / "val" / "a.jpg", A)
    put(folder / "val" / "b.jpg", B)
    return {"dataset_path": "annotations/c.json", "image_folder": str(folder / "val")}


def flickr30k(folder):
    put(folder / "readme.png", OTHER)
    write_parquet(
        folder / "data" / "t.parquet", {"a": A, "b": B}, False, img_id=["1", "2"], filename=["a.jpg", "b.jpg"]
    )
    return {"dataset_path": "."}


def llava(folder):
    turns = [{"from": "human", "value": "<image>\nWhat?"}]
    names = ["a.jpg", "b.jpg", "a.jpg"]
    rows = [{"id": str(number), "image": name, "conversations": turns} for number, name in enumerate(names)]
    put(folder / "llava.json", [*rows, {"id": "t", "conversations": []}])
    for name, data in {"a.jpg": A, "b.jpg": B, "other.jpg": OTHER}.items():
        put(folder / name, data)
    return {"dataset_path": "llava.json"}


def webdataset(folder):
    put(folder / "readme.png", OTHER)
    write_tar(folder / "0.tar", {"a.jpg": A, "b.jpg": B})
    return {"dataset_path": "."}


def imagefolder(folder):
    put(folder / "t" / "a.jpg", A)
    put(folder / "t" / "b.jpg", B)
    put(folder / "t" / "metadata.jsonl", {"file_name": "a.jpg"})
    write_tar(folder / "t" / "0.tar", {"c.jpg": OTHER})
    return {"dataset_path": "t"}


MAKERS = {"coco": coco, "flickr30k": flickr30k, "llava": llava, "webdataset": webdataset, "imagefolder": imagefolder}


def test_every_preset_has_a_case():
    assert preset_names(CAPTION_FOLDER) == sorted(MAKERS)


@pytest.mark.parametrize("preset", MAKERS)
def test_a_preset_reads_its_form_of_data_sets(tmp_path, read, preset):
    suffix = "" if preset == "webdataset" else ".jpg"
    assert read(preset=preset, **MAKERS[preset](tmp_path)) == {f"a{suffix}": A, f"b{suffix}": B}


def test_rows_that_name_the_same_image_are_captioned_once(tmp_path, read):
    assert len(read(**llava(tmp_path))) == 2
    assert read.notes == ["1 rows name the image of another row, which is captioned once"]


def test_a_list_whose_images_are_elsewhere_asks_for_their_folder(tmp_path, read):
    keys = coco(tmp_path)
    read(dataset_path=keys["dataset_path"], preset="coco")
    with pytest.raises(InputError, match=r"none of the 2 images .* is in .*annotations; set captions\.image_folder"):
        read.check()
    (tmp_path / "val" / "b.jpg").unlink()
    assert read(preset="coco", **keys) == {"a.jpg": A, "b.jpg": None}
    read.check()


def test_a_users_own_preset_is_a_file_and_the_configuration_wins(tmp_path, read):
    own = {"about": "mine", "read_as": "tables", "columns": {"image": "photo", "id": "nr"}}
    put(tmp_path / "mine.yaml", yaml.safe_dump(own).encode())
    put(tmp_path / "readme.png", OTHER)
    pd.DataFrame({"photo": [A, B], "other": [OTHER, OTHER], "nr": [1, 2], "key": ["x", "y"]}).to_parquet(
        tmp_path / "t.parquet"
    )
    preset = str(tmp_path / "mine.yaml")
    assert read(dataset_path=".", preset=preset) == {"1": A, "2": B}
    assert read(dataset_path=".", preset=preset, columns={"id": "key"}) == {"x": A, "y": B}


@pytest.mark.parametrize(
    ("preset", "content", "says"),
    [
        ("cocoo", None, r"there is no preset 'cocoo' \(did you mean coco\?\); known are coco, flickr30k"),
        ("./p.yaml", "a list", "no mapping of keys"),
        ("./p.yaml", "layouts: []", "the unknown key 'layouts'; known are about, source, read_as, columns"),
        ("./p.yaml", "read_as: folders", r"captions\.read_as: 'folders' is not one of"),
    ],
)
def test_a_preset_that_is_none_is_one_sentence(tmp_path, monkeypatch, raw_config, schema, preset, content, says):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(ConfigError, match=says):
        check(raw_config({"captions": {"preset": preset}}), schema)


@pytest.mark.parametrize(
    ("make", "keys", "says"),
    [
        (flickr30k, {"read_as": "tars"}, r"captions\.read_as: .* holds no tars; set it to auto"),
        (coco, {"read_as": "images"}, r"captions\.read_as: .* holds no images"),
        (coco, {"image_folder": "nowhere"}, r"captions\.image_folder: there is no folder nowhere"),
        (webdataset, {"image_folder": ".", "read_as": "tars"}, r"captions\.image_folder .* leave it out"),
        (
            imagefolder,
            {"image_folder": "."},
            r"captions\.image_folder is for the paths in a list, and .*; leave it out",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path, read, make, keys, says):
    with pytest.raises(InputError, match=says):
        read(**{**make(tmp_path), **keys})
