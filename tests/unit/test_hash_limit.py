"""The limit of a pilot on the images to caption, however they are stored."""

import pytest
from captionqa.config.check import check
from captionqa.config.layout import Layout
from captionqa.dataset.plan import load_plan
from captionqa.dataset.planning import plan_task
from captionqa.errors import ConfigError, InputError
from captionqa.files import read_json_lines
from shard_files import write_parquet, write_tar

PICTURES = {f"{number:03d}.png": f"image {number}".encode() for number in range(300)}


def write_folder(path, pictures):
    path.mkdir(parents=True)
    for name, data in pictures.items():
        (path / name).write_bytes(data)
    return path


@pytest.fixture(params=[write_folder, write_parquet, write_tar], ids=["folder", "table", "tar"])
def items(request, tmp_path, make_config):
    """{image: its chunk's result} of a plan, by the limit and the number of chunks."""
    path = request.param(
        tmp_path / {"write_parquet": "d.parquet", "write_tar": "d.tar"}.get(request.param.__name__, "d"), PICTURES
    )

    def plan(limit=None, chunks=4):
        config = make_config({"captions": {"dataset_path": str(path), "chunks": chunks, "limit": limit}})
        layout = Layout(str(tmp_path / "output"), "tiny")
        made = plan_task(config, layout, "captions")
        lists = list(map(list, map(read_json_lines, made.item_lists(layout, "captions"))))
        found = {
            entry["id"]: chunk.number for chunk, entries in zip(made.chunks, lists, strict=True) for entry in entries
        }
        assert made.items == len(found) == sum(map(len, lists))
        return found

    plan.notes = lambda: load_plan(Layout(str(tmp_path / "output"), "tiny"), "captions").notes
    return plan


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (40, 40), (5000, 300), (0.2, 60)])
def test_a_limit_is_a_number_or_a_share(items, limit, count):
    found = items(limit)
    assert len(found) == pytest.approx(count, abs=25 if limit < 1 else 0)
    assert items.notes() == [f"{len(found)} of 300 images are captioned, as captions.limit says"]


def test_without_a_limit_the_images_of_a_pilot_keep_their_places(items):
    pilot, share, whole = items(40), items(0.5), items()
    assert whole.items() >= share.items() >= pilot.items()
    assert (len(whole), items.notes()) == (300, [])


def test_a_share_of_few_images_that_is_none_of_them_says_so(items):
    with pytest.raises(InputError, match=r"captions\.limit: 1e-06 of 300 images is not one image; raise it"):
        items(0.000001)


@pytest.mark.parametrize("limit", [0, 1.5, -2, "all"])
def test_a_limit_that_is_none_is_refused(raw_config, schema, limit):
    with pytest.raises(ConfigError, match=r"captions\.limit: limit must be null, a number or a share"):
        check(raw_config({"captions": {"limit": limit}}), schema)
