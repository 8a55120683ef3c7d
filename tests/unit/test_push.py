"""`captionqa push`: what goes to a hub, what its card says, what stays private, and what is said where it fails."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import captionqa
import pandas as pd
import pytest
import yaml
from captionqa.config.check import check
from captionqa.config.exports import export_folders
from captionqa.dataset.final_files import final_files
from captionqa.driver.command_line import main
from captionqa.errors import ConfigError, ResultError
from captionqa.files import read_json
from captionqa.push.hub import HubError, commit
from captionqa.push.markdown import code_block, table
from captionqa.push.private_text import PrivateText
from captionqa.push.push import prepared_push
from captionqa.run.lease import LeaseKeeper
from finished_run import SERVER, finish_run
from hub_uploads import serve_uploads
from huggingface_hub import constants

PROMPT = "Say it in ```few``` words | please."
FORMATS = {"captions": ["jsonl", "parquet", "webdataset", "txt"], "qa": ["jsonl", "lmms_eval", "responses"]}
#: Answers of the questions in the contexts image and none.
OUTPUTS = {"q0": "The answer is A.", "q1": "B", "q2": "no idea"}


@pytest.fixture
def hub():
    with serve_uploads() as hub:
        yield hub


@pytest.fixture
def known_hub(hub, tmp_path, monkeypatch):
    """The hub as the one that huggingface_hub of this process knows, as if its variables had been set before."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setenv("HF_TOKEN", hub.token)
    return hub


class Run:
    """A finished run with exports, whose configuration is `my.yaml` in the folder."""

    def __init__(self, folder, raw, schema):
        self.folder = folder
        (folder / "my.yaml").write_text(yaml.safe_dump(raw))
        self.config = check(raw, schema)
        self.out = Path(self.config.output_dir)
        self.layout = finish_run(self.config, self.answer)

    def answer(self, work, entry):
        if entry["id"] == "q3":
            images = self.config.qa.dataset_path
            detail = f"'x.png' leads to /scratch/anna/secret/x.png, outside {images}; {SERVER['url']}/v1 said: see https://a.b/c/d"
            return {"failure": "path_outside_dataset", "detail": detail}
        return OUTPUTS.get(entry["id"]) or (f"caption of {entry['id']}", "length" if entry["id"] == "b.png" else "stop")

    def export(self, path_of_image="a.png"):
        """Put files where the exports have theirs."""
        rows = pd.DataFrame([{"id": "a.png", "caption": "x", "image_paths": [path_of_image]}])
        for form, folder in export_folders(self.config, self.layout):
            self.put(f"{folder}/.export", "{}")
            self.put(f"{folder}/.made_from", "{}")
            if form == "parquet":
                rows.to_parquet(f"{folder}/captions-00000.parquet")
            elif form == "lmms_eval":
                self.put(f"{folder}/tiny/1_results.json", json.dumps({"model_args": self.config.models["tiny"].path}))
            elif form == "webdataset":
                self.put(f"{folder}/captions-00000.tar", "tar")
            elif form == "txt":
                self.put(f"{folder}/a.txt", "x")
            else:
                self.put(f"{folder}/rows-00000.jsonl", json.dumps({"server": SERVER, "text": "x"}) + "\n")

    def put(self, path, text):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)

    def push(self, hub, *options, check=True, **variables):
        """Run the command in a process of its own."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HOME": str(self.folder / "hf")}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HOME": str(self.folder)}
        environment |= {"PYTHONPATH": str(captionqa.WORKFLOW), **variables}
        done = subprocess.run(
            [sys.executable, "-m", "captionqa", "push", "my.yaml", *options],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, done.stderr
        return done


@pytest.fixture
def run(tmp_path, images, raw_config, schema):
    images.add("a.png", "b.png")
    (tmp_path / "weights").mkdir()
    raw = raw_config(
        {
            "models": {"tiny": {"path": str(tmp_path / "weights")}},
            "captions": {"prompt_styles": ["BRIEF"], "prompts": {"BRIEF": PROMPT}},
            "qa": {"contexts": ["image", "none"], "instruction": "One letter."},
            "export": FORMATS,
        }
    )
    rows = {
        "qid": [f"q{number}" for number in range(4)],
        "question": ["Which?\nA. red\nB. blue"] * 4,
        "answer": ["A", "A", "A", "B"],
        "image": [["a.png"], ["b.png"], ["a.png"], ["b.png"]],
    }
    pd.DataFrame(rows).to_parquet(raw["qa"]["question_path"])
    run = Run(tmp_path, raw, schema)
    run.export()
    return run


def finish_judge(config):
    """Put results of a judge's chunks, which hold nothing, where a run has them."""
    layout = config.layout("critic")
    for file in final_files(config, layout, "judge"):
        for path in file.results(config, layout):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()


FINAL_FILES = [
    *("captions/tiny/tiny_brief.json", "captions/tiny/tiny_brief_statistics.json"),
    *(f"captions/tiny/tiny_brief_{kind}.json" for kind in ("failures", "provenance")),
    *(
        f"qa/tiny/tiny_qa{context}_{kind}.json"
        for context in ("", "_none")
        for kind in ("results", "metrics", "failures", "provenance", "flips")
    ),
    *("comparison.json", "comparison.csv", "comparison.md"),
]
EXPORTS = [
    *(
        "export/captions/tiny/tiny_brief_jsonl/rows-00000.jsonl",
        "export/captions/tiny/tiny_brief_parquet/captions-00000.parquet",
    ),
    *(
        f"export/qa/tiny/tiny_qa{context}_{file}"
        for context in ("", "_none")
        for file in ("jsonl/rows-00000.jsonl", "lmms_eval/tiny/1_results.json", "responses/rows-00000.jsonl")
    ),
]
UNCHANGED = [
    "captions/tiny/tiny_brief.json",
    "qa/tiny/tiny_qa_results.json",
    "qa/tiny/tiny_qa_none_results.json",
    EXPORTS[1],
]


def table_rows(markdown, first_head):
    """The rows of the table whose first head is this, as {head: cell}."""
    lines = markdown.split("\n")
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {first_head} |"))
    cells = []
    for line in lines[start:]:
        if not line.startswith("| "):
            break
        cells.append(line.removeprefix("| ").removesuffix(" |").split(" | "))
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


@pytest.mark.slow
def test_a_run_goes_to_a_hub_with_a_card_and_without_what_is_private(run, hub):
    dry = run.push(hub, "birds", "--dry-run").stdout
    assert hub.asked == []
    said = run.push(hub, "birds").stdout
    pushed = hub.files["me/birds"]
    assert set(pushed) == {"README.md", *FINAL_FILES, *EXPORTS}
    assert said == f"{len(pushed)} files were pushed: {hub.url}/datasets/me/birds/commit/{said.rpartition('/')[2]}"
    assert hub.commits == [("me/birds", f"Results of tiny by captionqa {captionqa.__version__}")]
    assert not hub.private["me/birds"]

    # the dry run said the same
    for name, data in pushed.items():
        assert re.search(rf"^ +{len(data):,}  {re.escape(name)}$", dry, re.MULTILINE), name
    card = pushed["README.md"].decode()
    assert dry.endswith(card + "\n")
    assert "left out  export/captions/tiny/tiny_brief_webdataset: its tars hold the images" in dry
    assert "left out  export/captions/tiny/tiny_brief_txt: it has a file for each image" in dry

    for name in UNCHANGED:
        assert pushed[name] == (run.out / name).read_bytes(), name
    for name, data in pushed.items():
        text = data.decode(errors="replace")
        for private in (str(run.folder), SERVER["url"], '"node"', "anna", hub.token, "/home/", str(Path.home())):
            assert private not in text, (name, private)
    assert list(run.out.glob(".push-*")) == []

    # what is not private is there
    failure = json.loads(pushed["qa/tiny/tiny_qa_failures.json"])["q3"]
    assert failure["detail"] == "'x.png' leads to x.png, outside images; http://server/v1 said: see https://a.b/c/d"
    provenance = json.loads(pushed["qa/tiny/tiny_qa_provenance.json"])
    assert provenance["counts"] == read_json(run.layout.qa("provenance"))["counts"]
    assert provenance["answered_by"] == [{"generation": 1, "vllm": "1.2"}]
    assert (provenance["settings"]["model_path"], provenance["dataset_path"]) == ("weights", "images")
    assert provenance["question_file"]["path"] == "questions.parquet"
    metrics = json.loads(pushed["qa/tiny/tiny_qa_metrics.json"])
    assert (metrics["dataset_path"], metrics["server_url"], metrics["correct_answers"]) == ("images", None, 1)


def test_the_card_says_what_the_files_of_the_run_say(run):
    with prepared_push(run.config, run.layout, "me/birds") as push:
        card = push.card
    head, text = re.fullmatch(r"---\n(.*?)\n---\n\n(.*)", card, re.DOTALL).groups()
    assert yaml.safe_load(head) == {
        "pretty_name": "birds",
        "task_categories": ["image-to-text", "visual-question-answering"],
        "tags": ["captionqa"],
        "configs": [
            {"config_name": "tiny_brief", "data_files": "export/captions/tiny/tiny_brief_parquet/*.parquet"},
            {"config_name": "tiny_qa", "data_files": "export/qa/tiny/tiny_qa_jsonl/*.jsonl"},
            {"config_name": "tiny_qa_none", "data_files": "export/qa/tiny/tiny_qa_none_jsonl/*.jsonl"},
        ],
    }
    code = read_json(run.layout.qa("provenance"))["captionqa"]
    assert f"captionqa {captionqa.__version__}" in text
    assert code["git_commit"] is None or code["git_commit"] in text
    assert "between 2023-11-14T22:13:20+00:00 and " in text
    assert table_rows(text, "model")[0] == {"model": "tiny", "weights": "weights", "revision": "-", "vLLM": "1.2"}
    data = {row["task"]: row for row in table_rows(text, "task")}
    assert (data["captions"]["data set"], data["captions"]["items"]) == ("images", "2")
    assert (data["qa"]["data set"], data["qa"]["items"]) == ("questions.parquet", "4")
    captions, answers = text.split("## Captions")[1], text.split("## Answers")[1]
    assert table_rows(captions, "model")[0] == {
        **{"model": "tiny", "captions": "captions BRIEF", "images": "2", "captioned": "2"},
        **{"cut at the token limit": "1", "failed": "0"},
    }
    first, second = table_rows(answers, "model")
    metrics = read_json(run.layout.qa("metrics"))
    low, high = metrics["overall_accuracy_interval_95"]
    assert (first["questions"], second["questions"]) == ("qa", "qa none")
    assert first["accuracy"] == f"{metrics['overall_accuracy']:.1%}" == "25.0%"
    assert first["interval"] == f"{low:.1%} to {high:.1%}"
    assert (first["asked"], first["answered"], first["unread"]) == ("4", "3", "1")
    assert first["failed"] == "1 (1 path_outside_dataset)"
    assert f"\n````text\n{PROMPT}\n````\n" in text
    assert "\n```text\nOne letter.\n```\n" in text
    assert {row["file"] for row in table_rows(text, "file")} >= {"MODEL_STYLE.json", "comparison.json, .csv, .md"}
    for row in table_rows(text, "model, task"):
        settings = read_json(
            run.layout.qa("provenance") if "qa" in row["model, task"] else run.layout.captions("brief", "_provenance")
        )["settings"]
        assert row["most tokens"] == f"{settings['max_tokens']:,}"
        assert row["sampling"].startswith(f"temperature {settings['sampling']['temperature']}")


def test_named_data_sets_keep_their_folders_and_are_told_apart(tmp_path, images, raw_config, schema):
    images.add("a.png")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.png").write_bytes((images.path / "a.png").read_bytes())
    folders = {"birds": images.path, "cars": tmp_path / "more"}
    sections = {name: {"dataset_path": str(folder)} for name, folder in folders.items()}
    config = check(raw_config() | {"captions": sections, "qa": None, "export": {"captions": ["jsonl"]}}, schema)
    finish_run(config, lambda work, entry: f"a caption of {entry['id']}")
    for each, of_data in config.by_data_set(config.layout()):
        [(_, folder)] = export_folders(each, of_data)
        Path(folder).mkdir(parents=True)
        Path(folder, ".export").write_text("{}")
        Path(folder, "captions-00000.jsonl").write_text("{}\n")
    with prepared_push(config, config.layout(), "birds") as push:
        kinds = ("", "_failures", "_provenance", "_statistics")
        of_both = [f"captions/tiny/tiny_simple{kind}.json" for kind in kinds]
        of_both.append("export/captions/tiny/tiny_simple_jsonl/captions-00000.jsonl")
        assert set(push.files) == {f"{name}/{file}" for name in folders for file in of_both}
        rows = table_rows(push.card.split("## Captions")[1], "model")
        assert [row["captions"] for row in rows] == ["birds: captions SIMPLE", "cars: captions SIMPLE"]
        assert [row["data set"] for row in table_rows(push.card, "task")] == ["birds: images", "cars: more"]
        configs = yaml.safe_load(push.card.split("---")[1])["configs"]
        assert [each["config_name"] for each in configs] == ["birds_tiny_simple", "cars_tiny_simple"]


def test_without_a_table_among_the_exports_the_hub_is_told_to_show_none(run):
    for _, folder in export_folders(run.config, run.layout):
        Path(folder, ".export").unlink()
    with prepared_push(run.config, run.layout, "birds") as push:
        assert set(push.files) == set(FINAL_FILES)
        assert "viewer: false" in push.card
        assert "export/" not in push.card


def test_a_table_that_names_images_by_paths_of_this_machine_stays_here(run):
    run.export(path_of_image=f"{run.config.qa.dataset_path}/a.png")
    with prepared_push(run.config, run.layout, "birds") as push:
        assert push.left_out[EXPORTS[1]] == "it names images by paths of this machine"
        assert EXPORTS[1] not in push.files
        # the same answers as lines of JSON are the table then
        assert "export/captions/tiny/tiny_brief_jsonl/*.jsonl" in push.card


def test_answers_with_paths_of_this_machine_are_pushed_as_copies(run):
    results = Path(run.layout.qa("results"))
    before = results.read_text()
    results.write_text(before.replace('"a.png"', json.dumps(f"{run.config.qa.dataset_path}/a.png")))
    with prepared_push(run.config, run.layout, "birds") as push:
        pushed = push.files["qa/tiny/tiny_qa_results.json"]
        assert pushed.read_text() == before.replace('"a.png"', '"images/a.png"')
        assert pushed != results
    assert not pushed.exists()


@pytest.fixture
def foreign_server(monkeypatch):
    """An existing server, which says from which folder of its machine it loaded the model."""
    monkeypatch.setitem(SERVER, "model_root", "/scratch/anna/hub/Qwen-2M")


@pytest.mark.usefixtures("foreign_server")
def test_of_the_folder_that_a_server_loaded_the_model_from_the_name_stays(run):
    path = Path(run.layout.qa("provenance"))
    made = read_json(path)
    made["settings"]["served_name"] = "/srv/anna/Qwen-2M"
    path.write_text(json.dumps(made))
    with prepared_push(run.config, run.layout, "birds") as push:
        texts = {name: path.read_bytes().decode(errors="replace") for name, path in push.files.items()}
        assert [name for name, text in texts.items() if "anna" in text] == []
        answered_by = json.loads(texts["qa/tiny/tiny_qa_provenance.json"])["answered_by"]
        assert [server["model_root"] for server in answered_by] == ["Qwen-2M"]
        assert json.loads(texts["qa/tiny/tiny_qa_provenance.json"])["settings"]["served_name"] == "Qwen-2M"
        assert '"model_root": "Qwen-2M"' in texts["export/qa/tiny/tiny_qa_responses/rows-00000.jsonl"]


def test_what_a_judge_said_goes_with_the_answers_and_its_machines_do_not(run, schema):
    raw = yaml.safe_load((run.folder / "my.yaml").read_text())
    raw["models"]["critic"] = {"path": "org/critic"}
    raw["qa"]["judge"] = {"model": "critic"}
    config = check(raw, schema)
    kinds = {
        "judged": {"q2": {"judge": {"grade": "correct"}}},
        "judge_metrics": {
            "judge": "critic",
            "by_judge": {"items": 2, "correct": 1, "incorrect": 0, "unscored": 0, "failed": 1},
            "combined": {"accuracy": 0.5, "accuracy_interval_95": [0.15, 0.85]},
            "agreement": {"cohens_kappa": None},
        },
        "judge_failures": {"q1": {"reason": "server_error", "detail": "no file /scratch/anna/x/template.jinja"}},
        "judge_provenance": read_json(run.layout.qa("provenance"))
        | {
            "clients": [{"host": "anna-pc", "job": "7"}],
            "answered_by": [{"url": "http://judge-node:1", "vllm": "1.2"}],
        },
    }
    kinds["judge_provenance"]["settings"] |= {"model": "critic", "model_path": "org/critic"}
    for context in ("", "_none"):
        for kind, value in kinds.items():
            run.put(run.layout.qa(kind, context), json.dumps(value))
    finish_judge(config)
    with prepared_push(config, run.layout, "birds") as push:
        names = {f"qa/tiny/tiny_qa{context}_{kind}.json" for context in ("", "_none") for kind in kinds}
        assert names <= push.files.keys()
        texts = {name: push.files[name].read_text() for name in names}
        assert [name for name, text in texts.items() if "anna" in text or "judge-node" in text] == []
        assert json.loads(texts["qa/tiny/tiny_qa_judge_provenance.json"])["answered_by"] == [{"vllm": "1.2"}]
        assert {row["file"] for row in table_rows(push.card, "file")} >= {"..._judged.json", "..._judge_metrics.json"}
        models = [(row["model"], row["weights"]) for row in table_rows(push.card, "model")]
        assert models == [("tiny", "weights"), ("critic", "org/critic")]
        rows = table_rows(push.card.split("A judge graded")[1], "model")[:2]
        assert [(row["questions"], row["judge"], row["answers it got"], row["failed"]) for row in rows] == [
            ("qa", "critic", "2", "1"),
            ("qa none", "critic", "2", "1"),
        ]
        assert (rows[0]["accuracy with it"], rows[0]["interval"], rows[0]["kappa"]) == ("50.0%", "15.0% to 85.0%", "-")
    # what an earlier configuration had judged is no result of this one
    with prepared_push(run.config, run.layout, "birds") as push:
        assert names.isdisjoint(push.files)
        assert "judge" not in push.card


def test_the_card_says_what_the_accuracy_of_questions_counts_that_were_asked_more_than_once(run):
    metrics = read_json(run.layout.qa("metrics"))
    shares = {"first_accuracy": 0.25, "mean_accuracy": 0.5, "decided_accuracy": 0.75, "consistency": 1.0}
    run.put(run.layout.qa("metrics"), json.dumps(metrics | {"repeats": {"questions": 4, "requests": 12, **shares}}))
    with prepared_push(run.config, run.layout, "birds") as push:
        [row] = table_rows(push.card.split("asked more than once has one grade")[1].split("## ")[0], "model")
    assert row == {
        **{"model": "tiny", "questions": "qa", "asked more than once": "4", "requests": "12"},
        **{"by the first answer": "25.0%", "mean": "50.0%", "by that grade": "75.0%"},
        "answered alike each time": "100.0%",
    }


def test_a_link_in_an_export_is_not_followed(run):
    secret = run.folder / "id_ed25519"
    secret.write_text("a private key")
    name = "export/qa/tiny/tiny_qa_jsonl/rows-00001.jsonl"
    (run.out / name).symlink_to(secret)
    with prepared_push(run.config, run.layout, "birds") as push:
        assert name not in push.files
        assert push.left_out[name] == "it is a link"


@pytest.mark.parametrize("kind", ["results", "metrics", "failures", "provenance"])
def test_a_run_without_a_final_file_is_not_finished(run, kind):
    path = Path(run.layout.qa(kind, "_none"))
    path.unlink()
    sentence = f"the run is not finished: {path} is missing; `captionqa run` with this configuration first."
    with pytest.raises(ResultError, match=re.escape(sentence)), prepared_push(run.config, run.layout, "birds"):
        pass


def test_a_run_whose_configuration_asks_for_more_is_not_finished(run, schema):
    raw = yaml.safe_load((run.folder / "my.yaml").read_text())
    raw["captions"]["max_tokens"] = 99
    sentence = "the run is not finished: 2 items have no result by this configuration; "
    with pytest.raises(ResultError, match=sentence), prepared_push(check(raw, schema), run.layout, "birds"):
        pass


def test_a_run_that_goes_on_is_not_pushed(run):
    lease = LeaseKeeper(run.layout.server)
    lease.start()
    try:
        with pytest.raises(ConfigError, match="a run works on "), prepared_push(run.config, run.layout, "birds"):
            pass
    finally:
        lease.release()


def push_one(repo="me/birds", private=False):
    return commit(repo, {"README.md": b"# x", "a/b.json": b"{}"}, "a message", private)


def test_files_that_are_there_stay_and_those_of_the_same_names_are_replaced(known_hub):
    known_hub.files["lab/birds"], known_hub.private["lab/birds"] = {"LICENSE": b"mine", "README.md": b"old"}, False
    push_one("lab/birds")
    assert known_hub.files["lab/birds"] == {"LICENSE": b"mine", "README.md": b"# x", "a/b.json": b"{}"}
    assert known_hub.tokens == {f"Bearer {known_hub.token}"}


def test_a_repository_that_is_asked_to_be_private_is_or_gets_nothing(known_hub):
    push_one(private=True)
    push_one(private=True)
    assert known_hub.private == {"me/birds": True}
    assert len(known_hub.commits) == 2
    known_hub.private["me/birds"] = False
    with pytest.raises(HubError, match="me/birds is there already and public, so nothing was pushed; make it private"):
        push_one(private=True)
    assert len(known_hub.commits) == 2


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        (
            {"/create": (401, {})},
            "does not accept the token; give one that may write: `hf auth login`, or HF_TOKEN (HTTP 401)",
        ),
        ({"/create": (403, {})}, "does not let this token write there; give the token write access to it, or "),
        ({"/create": (404, {})}, "has no such owner or repository, or this token may not see it; look at the part "),
        ({"/create": (500, {})}, "says no, not now (HTTP 500)"),
        ({"/commit/": (403, {})}, "does not let this token write there"),
        ({"/preupload/": (404, {"X-Error-Code": "RepoNotFound"})}, "has no such owner or repository"),
    ],
    ids=str,
)
def test_a_refusal_is_one_sentence_and_nothing_is_pushed(known_hub, refuse, said):
    known_hub.refuse = refuse
    with pytest.raises(HubError) as refused:
        push_one()
    sentence = str(refused.value)
    assert f"me/birds was not pushed: {known_hub.url} {said}" in sentence
    assert "\n" not in sentence
    assert known_hub.commits == []


def test_a_wrong_token_is_refused_and_never_shown(known_hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match="does not accept the token") as refused:
        push_one()
    assert "hf_wrong" not in str(refused.value)


def test_without_a_token_nothing_is_asked(known_hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=f"there is no token for {known_hub.url}; give one that may write"):
        push_one()
    assert known_hub.asked == []


def test_a_hub_that_cannot_be_reached_is_named(known_hub, refused_url, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", refused_url)
    with pytest.raises(HubError, match=f"{refused_url} cannot be reached .*; is there a network, and is HF_ENDPOINT"):
        push_one()


@pytest.mark.slow
def test_offline_nothing_is_pushed(run, hub):
    done = run.push(hub, "birds", check=False, HF_HUB_OFFLINE="1")
    assert done.stderr == "captionqa: HF_HUB_OFFLINE is set, so nothing can be pushed; unset it.\n"
    assert (done.returncode, hub.asked) == (1, [])


@pytest.mark.parametrize("name", ["a b", "a/b/c", "me/..x", ".x", "me/x.git", ""])
def test_a_malformed_name_is_refused_before_anything_is_read(name, tmp_path, raw_config, capsys):
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(raw_config()))
    assert main(["push", str(tmp_path / "my.yaml"), name]) == 1
    assert capsys.readouterr().err.startswith(
        f"captionqa: {name!r} cannot be the name of a repository: give OWNER/NAME"
    )


def test_folders_of_this_machine_become_their_names(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    private = PrivateText(
        {str(tmp_path): "here", f"{tmp_path}/da ta/ü": "ü", f"{tmp_path}/link": "link", "/data": "data"},
        ["http://user:word@node:8000/v1", "https://node"],
    )
    for text, shown in {
        f"in {tmp_path}/da ta/ü/x.png.": "in ü/x.png.",
        f"in {tmp_path}.": "in here.",
        f"{tmp_path}/real/x": "link/x",
        json.dumps(f"{tmp_path}/da ta/ü/x"): json.dumps("ü/x"),
        json.dumps(f"\n{tmp_path}/x"): json.dumps("\nhere/x"),
        f"{tmp_path}2/x and {tmp_path}-b, {tmp_path}.old": None,
        "/data/x": None,
        "http://user:word@node:8000/v1/chat": "http://server/v1/chat",
        "https://node.org/x": None,
    }.items():
        assert private.without(text) == (text if shown is None else shown)
        assert private.is_in(text) == (shown is not None)


def test_a_push_removes_the_copies_of_one_that_was_killed_and_not_those_of_one_that_goes_on(run):
    killed = run.out / ".push-killed"
    killed.mkdir()
    (killed / "README.md").write_text("x")
    with prepared_push(run.config, run.layout, "me/results"):
        assert not killed.exists()
        (others,) = run.out.glob(".push-*")
        with prepared_push(run.config, run.layout, "me/results"):
            assert others.exists()
    assert not list(run.out.glob(".push-*"))


def test_of_the_paths_in_a_message_the_last_part_stays():
    private = PrivateText({}, [])
    for text, shown in {
        "no file 'x' in /a/b/c; put it back": "no file 'x' in c; put it back",
        "[Errno 2] '/a/b c/d.png'": "[Errno 2] 'd.png'",
        "see https://a.b/c/d and a/b/c and 1/2": None,
        "(/a/b/c.png)": "(c.png)",
    }.items():
        assert private.without_paths(text) == (text if shown is None else shown)


def test_a_text_of_others_stays_in_its_block_and_its_cell():
    assert code_block("a\n````\nb")[0] == "`````text"
    assert list(table(["x"], [["a|b\n<img>"]])) == ["| x |", "| --- |", r"| a\|b\n&lt;img> |"]
