"""Data sets of the hub: which files a path stands for, found once and kept with their commit, also without network."""

import json
import re
import shutil

import pandas as pd
import pytest
from captionqa.config.media_folder import allowed_folder
from captionqa.dataset.hub_data import HubPath, find_files
from captionqa.errors import InputError
from hub_server import serve_hub
from projects import ROOT
from shard_files import write_parquet

#: Plan the captions and the questions of a configuration as the driver does, then load it again as a job does.
PLAN = """
import json, sys
from pathlib import Path
from captionqa.config.check import load_config
from captionqa.config.data_root import data_root
from captionqa.config.layout import Layout
from captionqa.config.media_folder import allowed_folder
from captionqa.dataset.hub_data import plan_hub_data
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.planning import plan_task
from captionqa.errors import InputError
from captionqa.files import read_json_lines

first = load_config(Path(sys.argv[1]))
layout = Layout(first.output_dir, "tiny")
try:
    planned = plan_hub_data(first, layout)
    plans = {task: plan_task(planned, layout, task) for task in planned.tasks}
except InputError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
config = load_config(Path(sys.argv[1]))
assert config == planned
seen = {"commits": {}, "captions": {}, "qa": {}}
for task, plan in plans.items():
    seen["commits"] |= config.sections.hub_commits(task)
    sources = ImageSources(data_root(config.section(task).data_path))
    for items in plan.item_lists(layout, task):
        for entry in read_json_lines(items):
            data = [sources.find(image).read()[0].decode() for image in entry["images"]]
            seen[task][entry["id"]] = data
print(json.dumps(seen))
"""
PICTURES = {f"{name}.png": f"image {name}".encode() for name in "abcd"}
MAIN = "hf://datasets/lab/birds/test"


@pytest.fixture
def hub():
    with serve_hub() as hub:
        yield hub


def parquet(folder, pictures):
    return write_parquet(folder / "made.parquet", pictures).read_bytes()


@pytest.fixture
def birds(hub, tmp_path):
    """A data set of two shards and a table of questions, at its main and at a tag."""
    names = list(PICTURES)
    shards = [{name: PICTURES[name] for name in names[:2]}, {name: PICTURES[name] for name in names[2:]}]
    questions = pd.DataFrame(
        [{"qid": "q1", "question": "What?", "answer": "x", "image": {"bytes": PICTURES["a.png"], "path": None}}]
    ).to_parquet()
    files = {f"data/test-{number:05d}-of-00002.parquet": parquet(tmp_path, part) for number, part in enumerate(shards)}
    hub.repositories["lab/birds"] = {
        "main": {**files, "qa/val.parquet": questions, "readme.md": b"#"},
        "v1": {"data/test-00000-of-00001.parquet": parquet(tmp_path, shards[0]), "qa/val.parquet": questions},
    }
    return hub


@pytest.fixture
def plan(hub, tmp_path, raw_config, start_python):
    """What a process sees that plans a configuration and one that runs a job, with a hub's cache in `tmp_path`."""

    def start(captions=MAIN, offline=False, **environment):
        changes = {"captions": {"dataset_path": captions}} if captions else {}
        raw = raw_config(changes) | {"output_dir": str(tmp_path / "output")}
        raw["qa"] = {"question_path": captions.rpartition("/")[0] + "/qa/val.parquet"}
        (tmp_path / "config.yaml").write_text(json.dumps(raw))
        process = start_python(
            PLAN,
            tmp_path / "config.yaml",
            HF_ENDPOINT=hub.url,
            HF_HOME=str(tmp_path / "hf"),
            HF_HUB_OFFLINE="1" if offline else "0",
            HF_HUB_DISABLE_PROGRESS_BARS="1",
            **environment,
        )
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return json.loads(out)

    return start


@pytest.mark.slow
def test_a_split_is_fetched_once_and_found_again_without_network(hub, birds, plan):
    found = plan()
    commit = hub.commit("lab/birds", "main")
    assert found["captions"] == {name: [data.decode()] for name, data in PICTURES.items()}
    assert found["qa"] == {"q1": ["image a"]}
    assert found["commits"] == {MAIN: commit, "hf://datasets/lab/birds/qa/val.parquet": commit}
    fetched = [path for path in hub.asked if "/resolve/" in path]
    assert not any("readme" in path for path in fetched)
    hub.asked.clear()
    assert plan() == found
    assert not any("/resolve/" in path for path in hub.asked)
    hub.asked.clear()
    assert plan(offline=True) == found
    assert hub.asked == []


@pytest.mark.slow
def test_a_revision_is_kept_while_the_default_branch_moves(hub, birds, plan):
    tagged = plan("hf://datasets/lab/birds@v1/test")
    assert set(tagged["captions"]) == {"a.png", "b.png"}
    assert set(tagged["commits"].values()) == {hub.commit("lab/birds", "v1")}
    before = plan()["commits"][MAIN]
    hub.repositories["lab/birds"]["main"] |= {"new.txt": b"x"}
    assert plan()["commits"][MAIN] == hub.commit("lab/birds", "main") != before


@pytest.mark.slow
def test_without_hub_and_cache_one_sentence_says_how_to_fetch(hub, birds, plan):
    error = plan("hf://datasets/lab/birds@v1/test", offline=True)["error"]
    assert "hf://datasets/lab/birds@v1/test is not complete in the hub's cache, and the hub cannot be reached" in error
    assert error.endswith("fetch it with: hf download lab/birds --repo-type dataset --revision v1 --include '*test*'")


@pytest.mark.slow
def test_a_cache_that_misses_a_shard_is_named(hub, birds, plan, tmp_path):
    plan()
    (snapshot,) = (tmp_path / "hf" / "hub" / "datasets--lab--birds" / "snapshots").iterdir()
    (snapshot / "data" / "test-00001-of-00002.parquet").unlink()
    assert "fetch it with: hf download lab/birds" in plan(offline=True)["error"]
    shutil.rmtree(tmp_path / "hf" / "hub" / "datasets--lab--birds" / "trees")
    assert "data/test-00001-of-00002.parquet is not in the hub's cache" in plan(offline=True)["error"]


@pytest.mark.slow
def test_a_gated_data_set_is_fetched_with_the_users_token(hub, birds, plan):
    hub.token = "hf_secret"
    assert "hf auth login" in plan()["error"]
    assert set(plan(HF_TOKEN="hf_secret")["captions"]) == set(PICTURES)


@pytest.mark.slow
def test_what_the_hub_does_not_have_is_named(hub, birds, plan):
    assert "the hub has no data set lab/fish" in plan("hf://datasets/lab/fish/test")["error"]
    assert "lab/birds has no revision v9" in plan("hf://datasets/lab/birds@v9/test")["error"]
    assert (
        "no single split train; name one of its splits: qa/val, test" in plan("hf://datasets/lab/birds/train")["error"]
    )


FILES = {
    "data": ["data/test-00000-of-00001.parquet", "data/test-dev-00000-of-00001.parquet", "README.md"],
    "root": ["test-00000-of-00001.parquet", "train-00000-of-00001.parquet"],
    "folder": ["test/0000.parquet", "train/0000.parquet"],
    "single": ["test.parquet"],
    "one config": ["main/test-00000-of-00001.parquet", "main/train-00000-of-00001.parquet"],
    "converted": ["default/test/0000.parquet", "default/train/0000.parquet"],
    "configs": ["art/test-00000-of-00001.parquet", "maths/test-00000-of-00001.parquet"],
}


@pytest.mark.parametrize(
    ("files", "rest", "pattern"),
    [
        ("data", "test", "data/test-[0-9]*.parquet"),
        ("data", "test-dev", "data/test-dev-[0-9]*.parquet"),
        ("data", "data/test-0*.parquet", "data/test-0*.parquet"),
        ("root", "test", "test-[0-9]*.parquet"),
        ("folder", "test", "test/*.parquet"),
        ("single", "test", "test.parquet"),
        ("one config", "test", "main/test-[0-9]*.parquet"),
        ("converted", "test", "default/test/*.parquet"),
        ("converted", "default/train", "default/train/*.parquet"),
        ("configs", "maths/test", "maths/test-[0-9]*.parquet"),
        ("configs", "*/test-*.parquet", "*/test-*.parquet"),
    ],
)
def test_a_split_is_found_in_the_forms_that_repositories_have(files, rest, pattern):
    assert find_files(HubPath.parse(f"hf://datasets/lab/birds/{rest}"), FILES[files]) == pattern


@pytest.mark.parametrize(
    ("files", "rest", "says"),
    [
        ("configs", "test", "has no single split test; name one of its splits: art/test, maths/test"),
        ("data", "", "has to be followed by a split; name one of its splits: test, test-dev"),
        ("data", "data/*.tar", r"lab/birds has no file data/\*\.tar"),
    ],
)
def test_what_is_not_clear_names_what_there_is(files, rest, says):
    with pytest.raises(InputError, match=says):
        find_files(HubPath.parse(f"hf://datasets/lab/birds/{rest}"), FILES[files])


@pytest.mark.parametrize(
    ("text", "repo", "revision", "rest"),
    [
        ("hf://datasets/lab/birds/test", "lab/birds", None, "test"),
        ("hf://datasets/lab/birds@v1.0/data/x.parquet", "lab/birds", "v1.0", "data/x.parquet"),
        (
            "hf://datasets/lab/birds@refs/convert/parquet/default/test",
            "lab/birds",
            "refs/convert/parquet",
            "default/test",
        ),
        ("hf://datasets/lab/birds@a%2Fb/test", "lab/birds", "a/b", "test"),
    ],
)
def test_a_path_has_the_form_of_the_hubs_file_system(text, repo, revision, rest):
    assert HubPath.parse(text)[1:] == (repo, revision, rest)


@pytest.mark.parametrize("text", ["hf://lab/birds/test", "hf://datasets/birds", "hf://spaces/lab/birds/test"])
def test_another_form_is_one_sentence(text):
    with pytest.raises(
        InputError, match="is no data set of the hub; the form is hf://datasets/ORG/NAME@REVISION/SPLIT"
    ):
        HubPath.parse(text)


def test_every_path_in_the_documents_has_that_form():
    paths = re.findall(r"`(hf://\S+?)`", (ROOT / "docs" / "data.md").read_text())
    assert len(paths) >= 6
    assert [HubPath.parse(path).repo for path in paths] == ["ORG/NAME"] * len(paths)


def test_a_server_may_read_the_other_tasks_folder_where_one_is_of_the_hub(images, make_config):
    by_file = {"client": {"image_transport": "file"}}
    config = make_config({"captions": {"dataset_path": MAIN}, **by_file})
    assert allowed_folder(config, "tiny") == str(images.path.resolve())
    config = make_config(
        {"captions": {"dataset_path": MAIN}, "qa": {"question_path": MAIN, "dataset_path": MAIN}, **by_file}
    )
    assert allowed_folder(config, "tiny") is None
