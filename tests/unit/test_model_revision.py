"""A model's revision: the commit of a hub's model, and the digest of a local folder."""

import os
import shutil

import pytest
from captionqa.server.model_revision import model_revision


@pytest.fixture(autouse=True)
def no_cache_elsewhere(monkeypatch):
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def server(extra_args=(), **environment):
    """The arguments and the environment variables of a server."""
    return list(extra_args), environment


@pytest.fixture
def local(tmp_path):
    """A local model's folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"12345678")
    return folder


@pytest.fixture
def hub(tmp_path):
    """A hub's cache with two revisions of one model, as huggingface_hub lays it out."""
    folder = tmp_path / "home" / "hub" / "models--org--tiny"
    for name, commit in {"main": "c0ffee", "v1": "beef"}.items():
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / name).write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
    return folder.parent


def test_a_local_folder_is_known_by_its_configuration_and_its_weights_sizes(local):
    first = model_revision(str(local), *server())
    assert first.startswith("local-")
    (local / "README.md").write_text("no part of the model")
    assert model_revision(str(local), *server()) == first
    (local / "model.safetensors").write_bytes(b"123456789")
    second = model_revision(str(local), *server())
    (local / "config.json").write_text("{ }")
    assert len({first, second, model_revision(str(local), *server())}) == 3


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "chat_template.jinja", "preprocessor_config.json"]
)
def test_a_local_folders_contents_count_and_a_copy_is_the_same_model(local, tmp_path, name):
    (local / name).write_text("the first")
    first = model_revision(str(local), *server())
    copy = shutil.copytree(local, tmp_path / "copy", copy_function=shutil.copy)
    os.utime(copy / name, (1, 1))
    assert model_revision(str(copy), *server()) == first
    (local / name).write_text("the other")
    assert model_revision(str(local), *server()) != first


def test_of_large_weights_samples_all_over_the_files_count(local):
    sizes = {"model-1.safetensors": 40_000_000, "model-2.safetensors": 3_000_000}
    for name, size in sizes.items():
        (local / name).write_bytes(bytes(size))
    seen = {model_revision(str(local), *server())}
    for name, size in sizes.items():
        for start in (0, size // 3, size - 200_000):
            with (local / name).open("r+b") as file:
                file.seek(start)
                file.write(b"x" * 200_000)
            seen.add(model_revision(str(local), *server()))
    assert len(seen) == 7


def test_a_commit_is_its_own_revision_without_a_cache(tmp_path):
    assert model_revision("org/tiny", *server(["--revision", "a" * 40], HF_HOME=str(tmp_path))) == "a" * 40


@pytest.mark.parametrize(
    ("extra_args", "wanted"),
    [
        ([], "c0ffee"),
        (["--revision", "v1"], "beef"),
        (["--revision=v1"], "beef"),
        (["--revision", "unknown", "--revision", "v1"], "beef"),
        (["--revision", "c0ffee"], "c0ffee"),
        (["--revision", "unknown"], None),
        (["--revision"], "c0ffee"),
    ],
    ids=str,
)
def test_a_hub_model_is_known_by_the_commit_in_the_cache(hub, extra_args, wanted):
    assert model_revision("org/tiny", *server(extra_args, HF_HOME=str(hub.parent))) == wanted


@pytest.mark.parametrize(
    "place", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "--download-dir", "--download_dir"]
)
def test_the_cache_is_looked_for_where_the_server_has_it(hub, place):
    environment, extra_args = {"HF_HOME": "/nowhere"}, ()
    if place == "XDG_CACHE_HOME":
        (hub.parent / "huggingface").symlink_to(hub.parent)
        environment = {place: str(hub.parent)}
    elif place.startswith("--"):
        extra_args = [place, str(hub)]
    else:
        environment[place] = str(hub)
    assert model_revision("org/tiny", *server(extra_args, **environment)) == "c0ffee"


def test_a_model_that_is_not_in_the_cache_has_no_revision(hub):
    assert model_revision("org/other", *server(HF_HOME=str(hub.parent))) is None


def test_a_folder_that_cannot_be_read_whole_has_no_revision(local):
    (local / "dangling.safetensors").symlink_to("nowhere")
    assert model_revision(str(local), *server()) is None
