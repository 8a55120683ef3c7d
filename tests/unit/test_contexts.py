"""Questions asked with captions, with nothing and with gray pictures in place of their images."""

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from captionqa.client.chunk_result import read_chunk
from captionqa.client.chunk_run import ChunkRun
from captionqa.client.pending_requests import needs_server
from captionqa.config.layout import Layout
from captionqa.config.settings import fingerprint, qa_settings
from captionqa.dataset.caption_ids import CaptionIds
from captionqa.dataset.caption_links import CaptionLinks
from captionqa.dataset.final_files import final_files, items_to_do
from captionqa.dataset.gray_picture import gray_picture
from captionqa.dataset.image_encoding import EncodedImage
from captionqa.dataset.planning import plan_task
from captionqa.errors import ConfigError, InputError
from captionqa.files import read_json_lines
from captionqa.results.ask_again import retry_failed
from PIL import Image
from shard_files import write_parquet

ALL = {"qa": {"contexts": ["image", "caption", "none", "gray"]}}
CAPTION = "_caption_simple"
NAMES = ["a.png", "b.png", "c.png"]
ROWS = [("q1", "What?", ["a.png"]), ("q2", "Is <image> it?", ["b.png"]), ("q3", "Which?", ["a.png", "b.png"])]


@pytest.fixture
def ask_questions(make_config, images):
    """Write the parquet of questions; each is (qid, question, images)."""
    images.add(*NAMES)

    def write(*rows):
        frame = pd.DataFrame(rows, columns=["qid", "question", "image"])
        frame.assign(answer="A").to_parquet(make_config().qa.question_path)

    return write


@pytest.fixture
def run(jobs):
    """Run the chunks of a final file; returns {item: line of the result}."""

    def all_chunks(task="qa", context="", changes=ALL, chunks=1):
        lines = {}
        for job in jobs(task, chunks, changes, context):
            ChunkRun(job).run()
            lines |= {line["id"]: line for line in read_chunk(job.result)[1]}
        return lines

    return all_chunks


@pytest.fixture
def plan(make_config):
    """Plan all tasks; returns the configuration and the layout."""

    def make(changes):
        config = make_config(changes)
        layout = Layout(config.output_dir, "tiny")
        for task in config.tasks_as_planned:
            plan_task(config, layout, task)
        return config, layout

    return make


def texts(server):
    return [request["text"] for request in server.asked]


def test_without_images_the_text_alone_is_asked_and_equal_questions_once(ask_questions, run, server):
    ask_questions(*ROWS, ("q4", "What?", ["c.png"]))
    lines = run(context="_none")
    assert sorted(texts(server)) == ["Is  it?", "What?", "Which?"]
    assert all(request["images"] == [] for request in server.asked)
    assert lines["q1"]["answer"] == lines["q4"]["answer"]


def test_a_gray_picture_has_the_size_of_the_image_as_it_would_be_sent(ask_questions, run, server, encode, images):
    Image.new("RGB", (100, 40), "red").save(images.path / "c.png")
    ask_questions(("q1", "What?", ["a.png"]), ("q2", "What?", ["b.png"]), ("q3", "What?", ["c.png"]))
    Image.new("RGB", (100, 40), "red").save(images.path / "c.png")
    lines = run(context="_gray", changes={**ALL, "client": {"images": {"max_pixels": 32 * 64}}})
    asked = {tuple(request["images"]) for request in server.asked}
    assert len(server.asked) == len(asked) == 2  # of the two images of one size, one
    assert lines["q1"]["files"] == lines["q2"]["files"] != lines["q3"]["files"]
    images.add("a.png")  # another picture of the same size
    assert run(context="_gray", changes={**ALL, "client": {"images": {"max_pixels": 32 * 64}}}) == lines
    assert len(server.asked) == 2
    sent = EncodedImage("PNG", encode(Image.new("RGB", (64, 32), "red")), is_untouched=False)
    picture = Image.open(io.BytesIO(gray_picture(sent).data))
    assert (picture.size, picture.getcolors()) == ((64, 32), [(64 * 32, (128, 128, 128))])


def test_a_broken_image_fails_in_gray_as_it_does_itself(ask_questions, run, server, images):
    ask_questions(*ROWS)
    (images.path / "b.png").write_bytes(b"no image")
    with_images, gray = run(context=""), run(context="_gray")
    assert {item: line["failure"] for item, line in gray.items() if "failure" in line} == {
        item: line["failure"] for item, line in with_images.items() if "failure" in line
    }


def test_captions_of_this_run_are_asked_about_in_the_places_of_their_images(ask_questions, run, server):
    ask_questions(*ROWS)
    captions = {name: line["answer"]["text"] for name, line in run("captions").items()}
    asked = len(server.asked)
    run(context=CAPTION)
    a, b = (f"[Image: {captions[name]}]" for name in ("a.png", "b.png"))
    assert sorted(texts(server)[asked:]) == sorted([f"{a}\nWhat?", f"Is {b} it?", f"{a}\n{b}\nWhich?"])


def test_a_question_whose_caption_failed_fails_as_it_did(ask_questions, run, server, images):
    ask_questions(*ROWS, ("q4", "What?", ["c.png"]), ("q5", "What?", ["nowhere.png"]))
    (images.path / "b.png").write_bytes(b"no image")
    run("captions")
    lines = run(context=CAPTION)
    assert {item: line.get("failure") for item, line in lines.items()} == {
        "q1": None,
        "q2": "unreadable_image",
        "q3": "unreadable_image",
        "q4": None,
        "q5": "missing_caption",
    }
    assert lines["q2"]["detail"].startswith("the caption of 'b.png' failed: ")


def test_a_question_is_asked_again_with_its_caption_and_not_without(ask_questions, run, server, images, make_config):
    ask_questions(*ROWS, ("q4", "What?", ["c.png"]), ("q5", "What?", ["nowhere.png"]))
    (images.path / "b.png").write_bytes(b"no image")
    run("captions")
    run(context=CAPTION)
    config = make_config({"qa": {"contexts": ["caption"]}})
    both, alone = retry_failed(config, None, None, None), retry_failed(config, "qa", None, None)
    assert both.again == {"unreadable_image": 3}  # the caption, q2 and q3
    assert both.left == {"missing_caption": ["q5"]}
    assert alone.again == {}
    assert {key: sorted(ids) for key, ids in alone.left.items()} == {
        "whose caption failed": ["q2", "q3"],
        "missing_caption": ["q5"],
    }
    assert "let their captions be asked again too" in alone.text()
    images.add("b.png")
    both.apply()
    run("captions")
    assert {item for item, line in run(context=CAPTION).items() if "failure" in line} == {"q5"}


def test_only_questions_with_a_changed_caption_are_asked_again(ask_questions, run, server, jobs, images):
    ask_questions(*ROWS, ("q4", "What?", ["c.png"]))
    run("captions")
    first = [job.result for job in jobs("qa", 1, ALL, CAPTION)]
    run(context=CAPTION)
    images.add("a.png")
    run("captions")
    assert [job.result for job in jobs("qa", 1, ALL, CAPTION)] != first
    asked = len(server.asked)
    run(context=CAPTION)
    assert len(server.asked) - asked == 2  # q1 and q3


def test_other_settings_of_captions_rename_the_chunks_with_these_captions_alone(ask_questions, plan):
    ask_questions(*ROWS)

    def names(changes):
        config, layout = plan({**ALL, **changes})
        return {file.name: file.results(config, layout) for file in final_files(config, layout, "qa")}

    before, after = names({}), names({"captions": {"max_tokens": 5}})
    assert {name for name in before if before[name] != after[name]} == {"qa caption SIMPLE"}


def test_chunks_of_questions_wait_for_the_captions_of_their_images_alone(ask_questions, plan, images):
    names = [f"{number}.png" for number in range(40)]
    images.add(*names)
    ask_questions(*[(name, "What?", [name]) for name in names[:4]])
    config, layout = plan({**ALL, "captions": {"chunks": 16}, "qa": {**ALL["qa"], "chunks": 4}})
    _, captioned, *_ = final_files(config, layout, "qa")
    links = CaptionLinks.of(config, layout, captioned.context)
    for number, paths in links.paths.items():
        (listed,) = [path for path in layout_lists(layout, "qa") if Path(path).name.startswith(f"{number}-of-4.")]
        wanted = {image for entry in read_json_lines(listed) for image in entry["images"]}
        chunks = {Path(path).name.partition(".")[0] for path in paths}
        held = {
            Path(path).name.partition(".")[0]
            for path in layout_lists(layout, "captions")
            if {entry["id"] for entry in read_json_lines(path)} & wanted
        }
        assert chunks == held
    for damage in ("", "[]", "{}"):
        layout.caption_links.write_text(damage)
        assert CaptionLinks.of(config, layout, captioned.context) == links


def layout_lists(layout, task):
    return sorted(str(path) for path in Path(layout.task_items(task)).glob("*-of-*.jsonl"))


def test_without_a_data_set_of_their_own_captions_are_of_the_images_that_questions_name(ask_questions, plan, images):
    ask_questions(*ROWS, ("q4", "What?", ["nowhere.png"]))
    config, layout = plan({**ALL, "captions": {"dataset_path": None}})
    entries = {entry["id"]: entry for path in layout_lists(layout, "captions") for entry in read_json_lines(path)}
    assert set(entries) == {"a.png", "b.png", "nowhere.png"}
    assert entries["nowhere.png"]["stamps"] == [None]
    assert items_to_do(config, layout) == {"captions": 3, "qa": 4 * 4}
    before = {path: Path(path).stat().st_mtime_ns for path in layout_lists(layout, "captions")}
    plan({**ALL, "captions": {"dataset_path": None}})
    assert before == {path: Path(path).stat().st_mtime_ns for path in layout_lists(layout, "captions")}


def test_captions_of_another_folder_and_of_shards_are_found(plan, images, make_config, encode, tmp_path):
    images.add("deep/a.png")
    pictures = {colour: encode(Image.new("RGB", (8, 8), colour)) for colour in ("red", "blue")}
    folder = tmp_path / "shards"
    write_parquet(folder / "x.parquet", pictures, paths=False, id=["first", "second"])
    frame = pd.DataFrame([("q1", "What?", ["a.png"])], columns=["qid", "question", "image"])
    frame.assign(answer="A").to_parquet(make_config().qa.question_path)
    config, layout = plan({**ALL, "qa": {**ALL["qa"], "dataset_path": str(images.path / "deep")}})
    assert CaptionIds(config, layout).ids(["a.png", "../../b.png"])["a.png"] == "deep/a.png"
    config, layout = plan({**ALL, "captions": {"dataset_path": str(folder)}})
    reference = "../shards/x.parquet#group=0&row=1&column=image"
    assert CaptionIds(config, layout).ids([reference, "a.png"]) == {reference: "second"}


def test_a_file_of_captions_is_keyed_by_path_by_path_without_suffix_or_by_qid(ask_questions, run, server, tmp_path):
    ask_questions(*ROWS, ("q4", "What?", ["c.png"]))
    captions = tmp_path / "captions.json"
    changes = {"qa": {"contexts": ["caption"], "captions_from": {"people": str(captions)}}}
    captions.write_text(json.dumps({"a.png": "by path", "b": "by stem", "q3": "two images", "q4": "by <image> qid"}))
    run(context="_caption_people", changes=changes)
    assert set(texts(server)) == {
        "Is [Image: by stem] it?",
        "[Image: by path]\nWhat?",
        "[Image: by path]\n[Image: by stem]\nWhich?",
        "[Image: by <image> qid]\nWhat?",
    }
    captions.write_text(json.dumps({"a.png": "by path"}))
    assert run(context="_caption_people", changes=changes)["q4"]["failure"] == "missing_caption"


def test_a_file_that_holds_no_captions_is_refused(ask_questions, run, tmp_path):
    ask_questions(*ROWS)
    captions = tmp_path / "captions.json"
    captions.write_text("[1]")
    with pytest.raises(InputError, match="no JSON object of captions"):
        run(context="_caption_file", changes={"qa": {"contexts": ["caption"], "captions_from": str(captions)}})


@pytest.mark.parametrize("context", ["_none", "_gray", CAPTION])
def test_no_server_is_needed_once_the_journal_has_the_answers_of_a_context(
    ask_questions, run, server, jobs, make_config, context
):
    ask_questions(*ROWS)
    run("captions")
    config = make_config(ALL)
    layout = Layout(config.output_dir, "tiny")

    def needed():
        return needs_server(config, layout, [str(job.result) for job in jobs("qa", 1, ALL, context)])

    assert needed()
    run(context=context)
    for job in jobs("qa", 1, ALL, context):
        job.result.unlink()
    assert not needed()


def test_captions_that_are_not_there_yet_need_a_server(ask_questions, run, server, plan, jobs):
    ask_questions(*ROWS)
    config, layout = plan(ALL)
    captioned = [file for file in final_files(config, layout, "qa") if file.context.suffix == CAPTION]
    assert needs_server(config, layout, captioned[0].results(config, layout))


def test_settings_of_images_stay_and_where_none_is_sent_they_decide_nothing(make_config):
    def fingerprints(changes):
        config = make_config(changes)
        return {context.name: fingerprint(qa_settings(config, "tiny", context)) for context in config.contexts}

    before, after = fingerprints(ALL), fingerprints({**ALL, "client": {"images": {"max_pixels": 2000}}})
    assert {name for name in before if before[name] != after[name]} == {"image", "gray"}
    assert before["image"] == fingerprints({})["image"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qa": {"contexts": ["picture"]}}, "a context is image, caption, none or gray"),
        ({"qa": {"contexts": []}}, "a list of image, caption, none and gray"),
        ({"qa": {"caption_template": "the image"}}, "a text that holds {caption}"),
        ({"captions": {"dataset_path": None}}, "captions: the key 'dataset_path' is missing"),
        ({**ALL, "captions": {"dataset_path": None, "image_folder": "x"}}, "image_folder is for a list"),
        ({"captions": None, "qa": {"contexts": ["caption"]}}, "caption needs captions"),
        ({"qa": {"contexts": ["caption"], "captions_from": "nowhere.json"}}, "no file nowhere.json"),
        ({"qa": {"contexts": ["caption"], "captions_from": {"Simple": "x.json"}}}, "'Simple' would write the files"),
    ],
)
def test_contexts_that_cannot_be_asked_are_refused(make_config, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_config(changes)


def answers_of(make_config, models, contexts, **qa):
    """{model: suffixes of its contexts} of a configuration, and {model: tasks}."""
    changes = {"models": {name: {"path": "org/x"} for name in models}, "captions": {"prompt_styles": ["SHORT"]}}
    config = make_config({**changes, "qa": {"contexts": contexts, **qa}})
    suffixes = {name: [context.suffix for context in config.contexts_of(name)] for name in config.model_names}
    return suffixes, {name: config.tasks_of(name) for name in config.model_names}


def test_a_reader_answers_with_captions_and_with_nothing_and_the_others_with_pictures(make_config, tmp_path):
    (tmp_path / "known.json").write_text('{"a": "b"}')
    both = ["captions", "qa"]
    assert answers_of(make_config, ["tex"], ["image", "caption", "none"], reader="tex") == (
        {"tiny": ["", "_none"], "tex": ["_with_tiny_short", "_none"]},
        {"tiny": both, "tex": ["qa"]},
    )
    assert answers_of(make_config, ["tex"], ["caption", "none"], reader="tex") == (
        {"tiny": [], "tex": ["_with_tiny_short", "_none"]},
        {"tiny": ["captions"], "tex": ["qa"]},
    )
    files = {"captions_from": str(tmp_path / "known.json")}
    assert answers_of(make_config, ["tex", "two"], ["gray", "caption"], reader="tex", **files) == (
        {"tiny": ["_gray"], "two": ["_gray"], "tex": ["_with_tiny_short", "_with_two_short", "_caption_file"]},
        {"tiny": both, "two": both, "tex": ["qa"]},
    )
    assert answers_of(make_config, ["two"], ["image", "caption"]) == (
        {name: ["", "_caption_short"] for name in ("tiny", "two")},
        {"tiny": both, "two": both},
    )


def test_a_model_and_a_style_whose_names_run_together_are_refused(make_config):
    """The files of both would be reader_with_tiny_b_c."""
    captions = {"prompt_styles": ["B_C", "C"], "prompts": {"B_C": "x", "C": "y"}}
    models = {"tiny_b": {"path": "x"}, "reader": {"path": "x"}}
    qa = {"contexts": ["image", "caption"]}
    make_config({"models": models, "captions": captions, "qa": qa})
    with pytest.raises(ConfigError, match="captions B_C of tiny and C of tiny_b into the same files"):
        make_config({"models": models, "captions": captions, "qa": {**qa, "reader": "reader"}})


def test_a_models_own_sampling_is_in_its_settings_alone(make_config):
    models = {"two": {"path": "org/two", "sampling": {"temperature": 0.7}}}
    config, before = make_config({"models": models}), make_config()
    settings = [qa_settings(config, name)["sampling"] for name in ("tiny", "two")]
    assert [each["temperature"] for each in settings] == [0, 0.7]
    assert settings[0].keys() == settings[1].keys()
    assert fingerprint(qa_settings(config, "tiny")) == fingerprint(qa_settings(before, "tiny"))
