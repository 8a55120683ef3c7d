"""Captions of shards: what is found in parquet files, tars and Arrow files, and what is asked again."""

import base64
import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from captionqa.config.captions_config import CaptionColumnsConfig
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.dataset import shard_plan
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.image_ref import ImageRef
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.places import entry_place
from captionqa.dataset.shards import expand_braces
from captionqa.errors import InputError
from captionqa.files import read_json_lines
from PIL import Image
from shard_files import FEATURES, IMAGE, image_table, save_to_disk, write_parquet, write_tar


@pytest.fixture
def pictures(encode):
    """Different pictures, {name: bytes}."""
    return lambda *names: {
        name: encode(Image.new("RGB", (8, 8), (len(names), number, 7))) for number, name in enumerate(names)
    }


@pytest.fixture
def planned(tmp_path):
    """The items of a data set, {id: the contents of its images}, as they are planned and read."""

    def plan(path, image="auto", id="auto"):
        layout = Layout(str(tmp_path / "output"), "tiny")
        made = plan_captions(Path(path), 1, layout, CaptionColumnsConfig(image, id))
        planned.skipped = made.skipped
        sources = ImageSources(data_root(str(path)))
        return {
            entry["id"]: [sources.find(text).read()[0] for text in entry.get("images", [entry["id"]])]
            for items in made.item_lists(layout, "captions")
            for entry in read_json_lines(items)
        }

    return plan


def one_each(contents):
    return {name: [data] for name, data in contents.items()}


def refused(planned, path, **columns):
    with pytest.raises(InputError) as caught:
        planned(path, **columns)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_row_is_called_by_its_path_or_its_name_or_its_number(tmp_path, pictures, planned):
    contents = pictures("a.png", "b.png", "c.png")
    data = list(contents.values())
    write_parquet(tmp_path / "paths" / "t.parquet", contents, id=["x", "y", "z"])
    assert planned(tmp_path / "paths") == one_each(contents)
    write_parquet(tmp_path / "ids" / "t.parquet", contents, paths=False, caption=["1", "2", "3"], image_id=[7, 8, 9])
    assert planned(tmp_path / "ids" / "t.parquet") == {"7": [data[0]], "8": [data[1]], "9": [data[2]]}
    assert set(planned(tmp_path / "ids", id="caption")) == {"1", "2", "3"}
    assert set(planned(tmp_path / "ids", id=None)) == {"t.parquet#0", "t.parquet#1", "t.parquet#2"}
    write_parquet(tmp_path / "none" / "a" / "t.parquet", contents, paths=False, group=2)
    assert set(planned(tmp_path / "none")) == {"a/t.parquet#0", "a/t.parquet#1", "a/t.parquet#2"}


def test_rows_that_share_a_name_are_called_by_their_numbers(tmp_path, pictures, planned):
    (_, first), (_, second), (_, third) = pictures("a.png", "b.png", "c.png").items()
    for number, data in enumerate((first, second)):
        write_parquet(tmp_path / "ds" / f"{number}.parquet", {"image.png": data})
    write_parquet(tmp_path / "ds" / "2.parquet", {"other.png": third})
    assert planned(tmp_path / "ds") == {"0.parquet#0": [first], "1.parquet#0": [second], "other.png": [third]}


def test_a_member_of_a_tar_is_called_by_its_key(tmp_path, pictures, planned):
    contents = pictures("0001.jpg", "in/0002.v2.png", "./0003.png", "0004.a.png", "0004.b.png", "0003.jpg")
    write_tar(tmp_path / "t.tar", contents)
    data = list(contents.values())
    assert planned(tmp_path / "t.tar") == {
        "0001": [data[0]],
        "in/0002": [data[1]],
        "0003": [data[2]],
        "0004.a.png": [data[3]],
        "0004.b.png": [data[4]],
        "0003.jpg": [data[5]],
    }


def test_a_key_that_repeats_is_called_with_its_tar(tmp_path, pictures, planned):
    contents = pictures("0.png", "1.png", "2.png")
    write_tar(tmp_path / "ds" / "a.tar", {"0.png": contents["0.png"], "1.png": contents["1.png"]})
    write_tar(tmp_path / "ds" / "sub" / "b.tar", {"0.png": contents["2.png"]})
    data = list(contents.values())
    assert planned(tmp_path / "ds") == {"1": [data[1]], "a.tar/0": [data[0]], "sub/b.tar/0": [data[2]]}


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_odd_names_of_tars_are_read(tmp_path, pictures, planned, kind):
    long = "deep/" * 30 + "x" * 90
    names = ["é猫.png", f"{long}.png", "a b.png"] if kind != tarfile.USTAR_FORMAT else ["d/" * 40 + "x" * 60 + ".png"]
    contents = pictures(*names)
    write_tar(tmp_path / "t.tar", contents, kind)
    assert planned(tmp_path / "t.tar") == {name.removesuffix(".png"): [data] for name, data in contents.items()}


def test_what_is_no_image_in_a_tar_is_left_out(tmp_path, pictures, planned):
    contents = pictures("a.png", "._a.png", "__MACOSX/b.png")
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        for name, data in contents.items():
            tar.addfile(_member(name, size=len(data)), io.BytesIO(data))
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            tar.addfile(_member("link.png", type=kind, linkname="a.png"))
    assert planned(tmp_path / "t.tar") == {"a": [contents["a.png"]]}


def _member(name, **fields):
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def test_a_saved_dataset_is_read_in_the_order_of_its_state(tmp_path, pictures, planned):
    contents = pictures(*(f"{number}.png" for number in range(5)))
    data = list(contents.values())
    some = {name: contents[name] for name in ("0.png", "1.png", "2.png")}
    rest = {name: contents[name] for name in ("3.png", "4.png")}
    ds = save_to_disk(tmp_path / "ds", [image_table(some, paths=False), image_table(rest, paths=False)])
    assert planned(ds) == {str(number): [content] for number, content in enumerate(data)}
    (ds / "cache-12.arrow").write_bytes(b"of somebody's map, and not part of the set")
    assert len(planned(ds)) == 5
    save_to_disk(tmp_path / "both" / "train", [image_table(some)])
    save_to_disk(tmp_path / "both" / "test", [image_table(rest)])
    (tmp_path / "both" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert "the splits test, train" in refused(planned, tmp_path / "both")
    assert planned(tmp_path / "both" / "test") == one_each(rest)


def test_images_come_from_the_column_that_is_declared_or_looks_like_one(tmp_path, pictures, planned):
    contents = pictures("a.png", "b.png")
    data = list(contents.values())

    def found(table, **columns):
        pq.write_table(table, tmp_path / "t.parquet")
        return planned(tmp_path / "t.parquet", **columns)

    expected = {"t.parquet#0": [data[0]], "t.parquet#1": [data[1]]}
    assert found(pa.table({"jpg": data, "other": [b"x", b"y"]})) == expected
    assert found(pa.table({"content": pa.array(data, pa.large_binary()), "text": ["x", "y"]})) == expected
    audio = pa.array([{"bytes": b"x", "path": "a.wav"}] * 2, IMAGE)
    assert found(image_table(contents).append_column("sound", audio)) == one_each(contents)
    undeclared = pa.table({"pixels": image_table(contents)["image"], "n": [1, 2]})
    assert found(undeclared) == one_each(contents)
    nested = pa.table({"sample": pa.array([{"picture": content} for content in data])})
    assert found(nested, image="sample.picture") == expected
    two = pa.table({"image": data, "mask": data})
    assert set(found(two, image=["image", "mask"])["t.parquet#0"]) == {data[0]}


def test_several_images_of_a_row_are_one_item(tmp_path, pictures, planned):
    first, second, third = pictures("a.png", "b.png", "c.png").values()
    cells = [[{"bytes": first, "path": "a"}, {"bytes": second, "path": "b"}], [{"bytes": third, "path": "c"}], [], None]
    table = pa.table({"id": ["x", "y", "z", "w"], "images": pa.array(cells, pa.list_(IMAGE))})
    pq.write_table(table, tmp_path / "t.parquet")
    assert planned(tmp_path / "t.parquet") == {"x": [first, second], "y": [third]}
    numbered = {"image_1": [first, second], "image_2": [None, third], "id": [1, 2]}
    pq.write_table(pa.table(numbered), tmp_path / "n.parquet")
    columns = {name: pa.array([cell and {"bytes": cell, "path": None} for cell in cells], IMAGE)
               for name, cells in numbered.items() if name != "id"}  # fmt: skip
    pq.write_table(pa.table({"id": [1, 2], **columns}), tmp_path / "n.parquet")
    assert planned(tmp_path / "n.parquet") == {"1": [first], "2": [second, third]}


def test_rows_may_name_files_or_hold_base64(tmp_path, pictures, planned):
    contents = pictures("a.png", "x#1.png")
    for name, data in contents.items():
        (tmp_path / "ds" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "ds" / name).write_bytes(data)
    tables = tmp_path / "ds" / "tables"
    tables.mkdir()
    only_paths = pa.array([{"bytes": None, "path": name} for name in contents], IMAGE)
    pq.write_table(pa.table({"image": only_paths}), tmp_path / "ds" / "t.parquet")
    assert planned(tmp_path / "ds" / "t.parquet") == one_each(contents)
    pq.write_table(pa.table({"image": list(contents)}), tmp_path / "ds" / "t.parquet")
    assert planned(tmp_path / "ds" / "t.parquet") == one_each(contents)
    texts = [base64.b64encode(data + bytes(1000)).decode() for data in contents.values()]
    pq.write_table(pa.table({"id": [1, 2], "image": texts}), tables / "t.parquet")
    assert planned(tables) == {"1": [contents["a.png"] + bytes(1000)], "2": [contents["x#1.png"] + bytes(1000)]}


def test_lists_of_images_in_text_files_name_files(tmp_path, pictures, planned):
    contents = pictures("in/a.png", "in/b.png", "in/unlisted.png")
    for name, data in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    listed = {name: [contents[name]] for name in ("in/a.png", "in/b.png")}
    llava = [{"id": "0", "image": "in/a.png", "conversations": [{"from": "human", "value": "<image>"}]}, {"id": "t"}]
    (tmp_path / "llava.json").write_text(json.dumps([*llava, {"id": "1", "image": "in/b.png"}]))
    assert planned(tmp_path / "llava.json") == listed
    (tmp_path / "list.jsonl").write_text("".join(f'{{"file_name": "{name}", "text": "x"}}\n' for name in listed))
    assert planned(tmp_path / "list.jsonl") == listed
    text = base64.b64encode(contents["in/a.png"]).decode()
    (tmp_path / "list.tsv").write_text(f"index\timage\n7\t{text}\n8\tin/b.png\n")
    assert planned(tmp_path / "list.tsv") == {"7": [contents["in/a.png"]], "in/b.png": [contents["in/b.png"]]}
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "0.csv").write_text(f"id,image\n7,{text}\n")
    assert planned(tmp_path / "tables") == {"7": [contents["in/a.png"]]}


def test_rows_without_an_image_are_no_items_and_shards_without_one_are_counted(tmp_path, pictures, planned):
    data = pictures("a.png")["a.png"]
    cells = pa.array([{"bytes": data, "path": "a.png"}, None, {"bytes": None, "path": None}], IMAGE)
    save_to_disk(tmp_path / "ds", [pa.table({"image": cells}).replace_schema_metadata(FEATURES)])
    assert planned(tmp_path / "ds") == {"a.png": [data]}
    write_tar(tmp_path / "web" / "0.tar", {"a.png": data})
    pq.write_table(pa.table({"url": ["http://x"], "path": ["x.png"]}), tmp_path / "web" / "0.parquet")
    assert planned(tmp_path / "web") == {"a": [data]}
    layout = Layout(str(tmp_path / "output"), "tiny")
    assert plan_captions(tmp_path / "web", 1, layout).skipped == {"parquet without images": 1}


def test_patterns_name_shards(tmp_path, pictures, planned):
    contents = pictures("0.png", "1.png", "2.png")
    for number, (name, data) in enumerate(contents.items()):
        write_tar(tmp_path / "d" / f"{number:03d}.tar", {name: data})
    assert set(planned(tmp_path / "d" / "*.tar")) == {"0", "1", "2"}
    assert set(planned(tmp_path / "d" / "{001..002}.tar")) == {"1", "2"}
    assert set(planned(tmp_path / "**" / "00{0,2}.tar")) == {"0", "2"}
    assert "no file fits" in refused(planned, tmp_path / "d" / "*.parquet")
    assert expand_braces("{8..10}-{a,b}") == ["8-a", "8-b", "9-a", "9-b", "10-a", "10-b"]


def test_a_folder_with_images_stays_a_folder_of_images(tmp_path, pictures, planned):
    contents = pictures("a.png", "b.png")
    (tmp_path / "ds").mkdir()
    (tmp_path / "ds" / "a.png").write_bytes(contents["a.png"])
    write_tar(tmp_path / "ds" / "more.tar", {"b.png": contents["b.png"]})
    assert planned(tmp_path / "ds") == {"a.png": [contents["a.png"]]}


def test_a_wrong_column_is_named_with_those_that_there_are(tmp_path, pictures, planned):
    path = write_parquet(tmp_path / "t.parquet", pictures("a.png"), number=[1])
    assert "t.parquet has no column picture; it has image, number" in refused(planned, path, image="picture")
    assert "number of t.parquet holds int64, not images" in refused(planned, path, image="number")
    assert "captions.columns.id: t.parquet has no column key" in refused(planned, path, id="key")
    pq.write_table(pa.table({"number": [1]}), path)
    assert "holds no image (skipped: 1 parquet without images)" in refused(planned, path)
    pq.write_table(pa.table({"image": [b"x"], "depth": [b"x"], "photo": [b"x"]}), path)
    assert "several columns of images, image, photo" in refused(planned, path)


def test_an_empty_or_cut_or_damaged_shard_is_named(tmp_path, pictures, planned):
    contents = pictures("a.png", "b.png")
    parquet, tar = write_parquet(tmp_path / "t.parquet", contents), write_tar(tmp_path / "t.tar", contents)
    arrow = save_to_disk(tmp_path / "ds", [image_table(contents)]) / "data-00000-of-00001.arrow"
    whole = {path: path.read_bytes() for path in (parquet, tar, arrow)}
    for path, content in whole.items():
        dataset = path if path != arrow else path.parent
        path.write_bytes(b"")
        assert f"{path.name}" in (text := refused(planned, dataset))
        assert "is empty" in text
        path.write_bytes(content[: len(content) // 2] if path != tar else content[:540])
        assert path.name in refused(planned, dataset)
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n".ljust(600))
        assert path.name in refused(planned, dataset)
    tar.write_bytes(whole[tar][:540])
    assert refused(planned, tar).startswith("t.tar is cut: it ends within 'a.png'")
    tar.write_bytes(whole[tar][:512].replace(b"a.png", b"A.png") + whole[tar][512:])
    assert refused(planned, tar) == "t.tar is no tar: its first header is damaged."
    second = whole[tar].index(b"a.txt")
    tar.write_bytes(whole[tar][:second] + b"A" + whole[tar][second + 1 :])
    assert "damaged after 'a.png'" in refused(planned, tar)
    parquet.write_bytes(whole[parquet][:-4] + b"PARE")
    assert "is encrypted" in refused(planned, parquet)
    for suffix in ("tar.gz", "tgz", "zip"):
        (tmp_path / f"x.{suffix}").write_bytes(b"\x1f\x8b")
        assert "is compressed" in refused(planned, tmp_path / f"x.{suffix}")
    (tmp_path / "renamed.tar").write_bytes(b"\x1f\x8b".ljust(600))
    assert "is compressed by gzip" in refused(planned, tmp_path / "renamed.tar")
    assert "no folder" in refused(planned, tmp_path / "gone")
    (tmp_path / "a.txt").write_text("x")
    assert "is none of what is read" in refused(planned, tmp_path / "a.txt")


def test_a_plan_of_shards_is_kept_until_one_changes(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(shard_plan, "YOUNG_S", -1)
    layout = Layout(str(tmp_path / "output"), "tiny")
    contents = pictures("a.png", "b.png", "c.png")
    first = write_parquet(tmp_path / "ds" / "0.parquet", {"a.png": contents["a.png"]})
    made = plan_captions(tmp_path / "ds", 4, layout)
    monkeypatch.setattr(shard_plan, "write_plan", None)
    assert plan_captions(tmp_path / "ds", 4, layout) is not made
    assert plan_captions(tmp_path / "ds", 4, layout) == made
    monkeypatch.undo()
    write_parquet(tmp_path / "ds" / "1.parquet", {"b.png": contents["b.png"]})
    assert plan_captions(tmp_path / "ds", 4, layout).items == 2
    write_parquet(first, {"a.png": contents["a.png"], "c.png": contents["c.png"]})
    assert plan_captions(tmp_path / "ds", 4, layout).items == 3


def test_a_chunk_reads_each_shard_from_its_beginning_to_its_end(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(shard_plan, "SEGMENT_BITS", 3)
    contents = pictures(*(f"{number}.png" for number in range(200)))
    for tar in ("a.tar", "b.tar"):
        write_tar(tmp_path / "ds" / tar, {f"{tar}-{name}": data for name, data in contents.items()})
    layout = Layout(str(tmp_path / "output"), "tiny")
    plan = plan_captions(tmp_path / "ds", 3, layout)
    for items in plan.item_lists(layout, "captions"):
        entries = list(read_json_lines(items))
        refs = [ImageRef.parse(entry["images"][0]) for entry in entries]
        order = [
            (entry_place(entry) >> 29, ref.container, ref.offset) for entry, ref in zip(entries, refs, strict=True)
        ]
        assert order == sorted(order)
        assert len(entries) > 100


MEMORY = """
import sys
from pathlib import Path
from captionqa.config.layout import Layout
from captionqa.dataset import shard_plan
from captionqa.dataset.caption_plan import plan_captions
from captionqa.dataset.image_ref import ImageRef
plan = plan_captions(Path(sys.argv[1]), 1, Layout(sys.argv[2], "tiny"))
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(plan.items, int(peak) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "size"), [(2000, 200_000), (2, 50_000_000)])
def test_planning_reads_no_image(tmp_path, start_python, rows, size):
    """The whole file is 400 MB or 100 MB, and most readers would take it as one row group."""
    with pq.ParquetWriter(tmp_path / "t.parquet", pa.schema([("image", IMAGE)]), compression="zstd") as writer:
        for row in range(rows):  # of small batches, which it gathers in one row group
            writer.write_batch(pa.record_batch({"image": pa.array([{"bytes": bytes(size), "path": f"{row}"}], IMAGE)}))
    process = start_python(MEMORY, tmp_path / "t.parquet", tmp_path / "output")
    out, errors = process.communicate()
    items, peak_mb = map(int, out.split() or [0, 0])
    assert items == rows, errors
    assert peak_mb < 300
