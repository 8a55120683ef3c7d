"""Captions of a parquet file, a WebDataset and a folder of `save_to_disk` are those of a folder of the same images."""

import json
import shutil

import pytest
from projects import MODEL
from shard_files import image_table, save_to_disk, write_parquet, write_tar

pytestmark = pytest.mark.slow

#: {kind: (how the pictures are written, the dataset_path, what a picture is called)}
KINDS = {
    "parquet": (lambda path, pictures: write_parquet(path / "train-0.parquet", pictures, group=3), "ds/*.parquet", str),
    "webdataset": (
        lambda path, pictures: write_tar(path / "0.tar", pictures),
        "ds/{0..0}.tar",
        lambda name: name.removesuffix(".png"),
    ),
    "save_to_disk": (lambda path, pictures: save_to_disk(path, [image_table(pictures)]), "ds", str),
}


def digests(project):
    """{item: the digests of its images}, from the results of the chunks."""
    lines = [line for path in project.chunks("simple") for line in path.read_text().splitlines()[1:]]
    return {line["id"]: line["files"] for line in map(json.loads, lines)}


@pytest.mark.parametrize("kind", KINDS)
def test_shards_give_the_captions_of_a_folder_and_ask_only_what_is_new(completed, kind):
    project = completed
    write, dataset_path, called = KINDS[kind]
    images = project.folder / "images"
    pictures = {str(path.relative_to(images)): path.read_bytes() for path in sorted(images.rglob("*.png"))}
    captions, content = project.captions(), digests(project)

    first = dict(list(pictures.items())[:6])
    write(project.folder / "ds", first)
    project.config |= {"output_dir": "shards"}
    project.config["captions"] |= {"dataset_path": dataset_path, "prompt_styles": ["SIMPLE"]}
    del project.config["qa"]
    project.out = project.folder / "shards"
    project.forget_requests()
    project.run()
    assert project.captions() == {called(name): captions[name] for name in first}
    assert digests(project) == {called(name): content[name] for name in first}
    assert len(project.requests()) == len(first)

    shutil.rmtree(project.folder / "ds")
    write(project.folder / "ds", pictures)
    project.config["captions"]["chunks"] = 3
    project.forget_requests()
    project.run()
    assert project.captions() == {called(name): caption for name, caption in captions.items()}
    assert len(project.requests()) == len(pictures) - len(first)
    assert (
        json.loads((project.out / "captions" / MODEL / f"{MODEL}_simple_provenance.json").read_text())["dataset_path"]
        == dataset_path
    )
    assert "captionqa: nothing to do: " in project.run()
