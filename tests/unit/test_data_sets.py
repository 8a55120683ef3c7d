"""Named data sets: how a configuration names them, what its sentences call their keys, and where their files are."""

import json
import re
from pathlib import Path

import pytest
import yaml
from captionqa.client.pending_requests import PendingRequests
from captionqa.config.check import check, load_config
from captionqa.config.config import Config
from captionqa.config.data_sets import with_keys_named
from captionqa.config.hub_record import read_hub_record
from captionqa.config.layout import Layout
from captionqa.config.media_folder import allowed_folder
from captionqa.dataset.audit import audit
from captionqa.dataset.final_files import items_to_do, planned_items
from captionqa.dataset.planning import plan_all
from captionqa.driver.dry_run import PlannedWork, dry_run_text
from captionqa.driver.estimate import estimate_text
from captionqa.driver.status import FileStatus, grouped, read_status, status_text
from captionqa.driver.summary import plan_line, plan_notes
from captionqa.errors import ConfigError, InputError
from captionqa.export.export import check_exports
from captionqa.files import json_line
from captionqa.results.answer_sets import answer_sets
from captionqa.results.ask_again import retry_failed
from captionqa.results.result_set import selected_results
from captionqa.server.chosen_options import work_of
from projects import ROOT, draw_image
from shard_files import write_parquet

#: Two models, whose data sets a test adds.
MODELS = "models: {tiny: {path: org/tiny}, tex: {path: org/tex}}\n"
WITH_MERGE = """
captions:
  docs: &captions {dataset_path: images, prompt_styles: [SHORT]}
qa:
  docs: &qa {question_path: docs.parquet, contexts: [image, caption], max_tokens: 7}
  photos: {<<: *qa, question_path: photos.parquet, contexts: [image]}
"""


@pytest.fixture
def named(schema):
    """The checked configuration of the text of its data sets."""
    return lambda text: check(yaml.safe_load(MODELS + text), schema)


def test_each_data_set_has_its_sections_and_those_that_yaml_merges(named):
    config = named(WITH_MERGE)
    docs, photos = config.data_sets.values()
    assert list(config.data_sets) == ["docs", "photos"]
    assert (docs.captions.prompt_styles, docs.qa.max_tokens, photos.captions) == (["SHORT"], 7, None)
    assert (photos.qa.question_path, photos.qa.max_tokens) == ("photos.parquet", 7)
    assert (config.tasks, config.tasks_of("tex"), photos.tasks) == (["captions", "qa"], ["captions", "qa"], ["qa"])
    assert [context.title for context in docs.contexts] == ["qa", "qa caption SHORT"]
    assert [context.title for context in photos.contexts] == ["qa"]


def test_a_checked_configuration_can_be_handed_to_jobs(schema):
    raw = yaml.safe_load(MODELS + WITH_MERGE)
    config = check(raw, schema)
    assert Config.of(json.loads(json.dumps(raw))) == config


def test_the_example_in_the_documents_is_right_and_fits_a_page(tmp_path, monkeypatch):
    section = (ROOT / "docs" / "data.md").read_text().split("## Several data sets")[1]
    text = re.search("```yaml\n(.*?)```", section, re.DOTALL)[1]
    (tmp_path / "my.yaml").write_text(text)
    config = load_config(tmp_path / "my.yaml")
    assert len(text.splitlines()) <= 30
    assert len(config.models) == 2
    assert [len(each.contexts) for each in config.data_sets.values()] == [2, 3]


def test_a_data_set_without_a_name_is_the_configuration_itself(make_config):
    config = make_config()
    assert config.data_sets == {"": config}
    assert config.by_data_set(config.layout()) == [(config, config.layout())]


def test_captions_without_names_are_of_the_images_of_all_questions_with_captions(named):
    config = named(
        "captions: {prompt_styles: [LONG]}\n"
        "qa: {docs: {question_path: d/q.parquet, contexts: [caption]}, photos: {question_path: p.parquet}}"
    )
    docs, photos = config.data_sets.values()
    assert (docs.captions.of_questions, docs.captions.dataset_path, photos.captions) == (True, "d", None)
    others = named(
        "captions: {}\nqa: {photos: {question_path: p.parquet}, docs: {question_path: q.parquet, contexts: [caption]}}"
    )
    assert list(others.data_sets) == ["photos", "docs"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("qa: {docs: {question_path: 5}}", "qa.docs.question_path: question_path must be a path"),
        (
            "captions: {docs: {dataset_path: x, max_token: 5}}",
            "captions.docs: unknown key 'max_token' (did you mean 'max_tokens'?)",
        ),
        ("captions: {docs: {dataset_path: x, prompt_styles: [SIMPEL]}}", "captions.docs.prompt_styles: 'SIMPEL' is no"),
        ("captions: {docs: {prompt_styles: [SIMPLE]}}", "captions.docs: the key 'dataset_path' is missing"),
        ("qa: {docs: {question_path: x, contexts: [caption]}}", "qa.docs.contexts: caption needs captions"),
        (
            "captions: {prompt_styles: [SIMPEL]}\nqa: {docs: {question_path: x, contexts: [caption]}}",
            "captions.prompt_styles: 'SIMPEL' is no prompt style",
        ),
        ("captions: {docs: {dataset_path: x}, max_tokens: 5}", "captions.max_tokens: beside the data set 'docs' there"),
        ("captions: {docs: {dataset_path: x}, photos: }", "captions.photos: must be a section of keys"),
        ("captions: {docs: {dataset_path: x}}\nqa: {question_path: x}", "qa: captions names data sets, so name that"),
        ("captions: {dataset_path: x}\nqa: {docs: {question_path: x}}", "captions.dataset_path: qa names data sets"),
        ("captions: {}\nqa: {docs: {question_path: x}}", "captions: qa names data sets, and none of them has caption"),
        ("captions: {qa: {dataset_path: x}}", "captions.qa: the output folder has something else of that name"),
        ("captions: {Comparison.md: {dataset_path: x}}", "captions.Comparison.md: the output folder has something"),
        ("qa: {a b: {question_path: x}}", "qa: 'a b' is no name of a data set"),
        ("qa: {1: {question_path: x}}", "qa: 1 is no name of a data set"),
        ("captions: {a: {dataset_path: x}}\nqa: {A: {question_path: x}}", "qa.A: A and a differ in case alone"),
        (
            "captions: {a: {dataset_path: x, prompts: {FOO: '?'}, prompt_styles: [FOO]}, "
            "b: {dataset_path: x, prompts: {foo_Failures: '!'}, prompt_styles: [foo_Failures]}}",
            "captions.b.prompt_styles: 'foo_Failures' is called like a file that stands beside the captions of 'FOO' "
            "of the data set a",
        ),
        (
            "captions: {a: &c {dataset_path: x, prompts: {x: '?', x_judge: '!'}, prompt_styles: [x]}, "
            "b: {<<: *c, prompt_styles: [x_judge]}}\n"
            "qa: {a: &q {question_path: x, contexts: [caption], judge: {model: tex}}, b: {<<: *q, judge: null}}",
            "qa.judge: the grades of the answers MODEL_qa_caption_x would be in the files of MODEL_qa_caption_x_judge",
        ),
        (
            "output_dir: .\ncaptions: {docs: {dataset_path: docs/a}, photos: {dataset_path: ./photos}}",
            "output_dir: the results of the data set photos would be in the folder ./photos, among the images of "
            "captions.photos.dataset_path",
        ),
        (
            "output_dir: .\ncaptions: {docs: {dataset_path: .}}",
            "output_dir: the results of the data set docs would be in the folder ./docs, among the images of",
        ),
        (
            "export: {qa: [jsonl]}\ncaptions: {docs: {dataset_path: x}}",
            "export.qa: the configuration asks for no qa",
        ),
        (
            "captions: {promts: {ALT: '?'}}",
            "captions.promts: captions has no key 'promts' (did you mean 'prompts'?); and if it names a data set, its "
            "key 'ALT' is unknown.",
        ),
        (
            "captions: {docs: {dataset_paht: x}}",
            "captions.docs: captions has no key 'docs'; and if it names a data set, its key 'dataset_paht' is unknown "
            "(did you mean 'dataset_path'?).",
        ),
        (
            "qa: {juge: {max_tokens: 9}}",
            "qa.juge: qa has no key 'juge' (did you mean 'judge'?); and if it names a data",
        ),
        ("qa: {question_path: x, juge: {model: tex, max_tokens: 9}}", "qa: unknown key 'juge' (did you mean 'judge'?)"),
        (
            "captions: {a: {dataset_path: x}}\nqa: {a: {question_path: x, contexts: [caption], reader: tex}, "
            "b: {question_path: x, judge: {model: tiny}}}",
            "qa.b.judge.model: beside the judge 'tiny' and the reader 'tex' no model is left that captions",
        ),
        (
            "captions: {docs: {dataset_path: x, max_tokens: 8192}}",
            "captions.docs.max_tokens: an answer may have 8,192 tokens, and models.tiny.server.max_model_len is 8,192",
        ),
    ],
)
def test_a_wrong_map_of_data_sets_is_told_by_its_keys(named, text, sentence):
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}"):
        named(text)


def test_a_name_that_is_nearly_a_key_is_a_data_set_where_its_data_or_the_other_section_say_so(named):
    config = named(
        "captions: {sample: {dataset_path: x}, limits: {}}\n"
        "qa: {limits: {question_path: q.parquet, contexts: [caption]}, judged: {question_path: q.parquet}}"
    )
    assert list(config.data_sets) == ["sample", "limits", "judged"]


def test_an_output_folder_below_the_images_is_left_out_of_them(named):
    assert named("output_dir: x/out\ncaptions: {docs: {dataset_path: x}}").data_sets["docs"].captions


def test_a_run_has_one_reader_which_takes_no_part_in_data_sets_that_do_not_name_it(named, tmp_path):
    captions = "captions: {a: &c {dataset_path: x}, b: *c, c: *c}\n"
    reads = "{{question_path: x, contexts: [caption], reader: {}}}"
    config = named(f"{captions}qa: {{a: {reads.format('tiny')}, b: {{question_path: x}}}}")
    assert (config.reader, config.model_names) == ("tiny", ["tex", "tiny"])
    assert [each.tasks_of("tiny") for each in config.data_sets.values()] == [["qa"], [], []]
    of_other = [each.tasks_of("tex") for each in config.data_sets.values()]
    assert of_other == [["captions"], ["captions", "qa"], ["captions"]]
    with pytest.raises(ConfigError, match=r"^qa\.b\.reader: 'tex' would be a second reader beside 'tiny' of qa\.a\."):
        named(f"{captions}qa: {{a: {reads.format('tiny')}, b: {reads.format('tex')}}}")


def test_a_text_about_keys_names_them_and_no_file():
    text = "set qa.max_tokens; see ./qa.jsonl, data/qa.columns and export.qa: or captions.limit"
    named = "set qa.docs.max_tokens; see ./qa.jsonl, data/qa.columns and export.qa: or captions.docs.limit"
    assert with_keys_named(text, "docs") == named
    assert with_keys_named(text, "") == text


def test_the_files_of_a_data_set_are_in_its_folder_and_those_of_the_run_are_not():
    layout = Layout("out", "tex", "tiny", "/docs")
    of_data = [
        layout.captions("short"),
        layout.qa("results"),
        layout.page,
        layout.logs,
        layout.items("qa"),
        layout.captions_work(),
        layout.graded(),
        layout.caption_export("short", "coco"),
        layout.hub_data,
        str(layout.questions_by_image),
        str(layout.positions),
    ]
    assert of_data == [
        "out/docs/captions/tex/tex_short.json",
        "out/docs/qa/tex/tex_qa_results.json",
        "out/docs/report/index.html",
        "out/docs/logs/tex",
        "out/docs/work/items/qa/{chunk}-of-{n}.{digest}.jsonl",
        "out/docs/work/tex/captions/{style}",
        "out/docs/work/tex/qa/graded.jsonl",
        "out/docs/export/captions/tex/tex_short_coco",
        "out/docs/work/items/hub.json",
        "out/docs/work/questions_by_image",
        "out/docs/work/tex/positions",
    ]
    run = Layout("out", "tex", "tiny")
    of_run = ("audit", "verdict", "run_work", "failures_checked", "progress", "server", "model_versions", "sentinel")
    for name in of_run:
        assert getattr(layout, name) == getattr(run, name)
    assert layout.comparison("json") == run.comparison("json")
    assert layout.server_log(1) == "out/logs/tex/server-1.log"
    assert layout.live("qa") == "out/work/tex/server/live/docs/qa"
    assert layout.released("qa") == "out/work/tex/server/released/docs/qa.json"
    assert layout.job_name("merge_qa") == "merge_qa of docs by tex"
    assert Layout("out", data_set="{data_set}").qa("results") == "out{data_set}/qa/{model}/{model}_qa_results.json"


def test_no_two_jobs_of_a_run_have_the_same_files():
    layout = Layout("out", "tiny")
    tiny, tex = layout.of_models(["tiny", "tex"])
    assert tiny.of_data_set("a_by_tex").job_file("qa chunk 0-of-2") != tex.of_data_set("a").job_file("qa chunk 0-of-2")
    assert layout.of_data_set("all").job_file("page") != layout.job_file("page_of_all")
    assert layout.of_data_set("a").job_file("captions x_of_b") != layout.of_data_set("b_of_a").job_file("captions x")
    assert tex.of_data_set("a").job_file("qa chunk 0-of-2") == "qa_chunk_0-of-2@a@tex"
    assert layout.job_file("qa chunk 0-of-2") == "qa_chunk_0-of-2"


def test_a_live_marker_of_any_data_set_counts_and_an_empty_folder_does_not(tmp_path):
    layout = Layout(str(tmp_path), "tiny", data_set="/docs")
    marker = Path(layout.live("qa"))
    marker.parent.mkdir(parents=True)
    assert not layout.server_files.has_live_marker()
    marker.touch()
    assert layout.server_files.has_live_marker()


@pytest.fixture
def planned(named, tmp_path, monkeypatch):
    """Two data sets of images, planned: of four images and of two, for two models."""
    monkeypatch.chdir(tmp_path)
    for name, images in (("docs", 4), ("photos", 2)):
        for number in range(images):
            draw_image(tmp_path / name / f"{number}.png", number)
    config = named("captions: {docs: &c {dataset_path: docs}, photos: {<<: *c, dataset_path: photos}}")
    plan_all(config, config.layout())
    return config


def test_counts_of_a_run_are_of_all_data_sets_and_all_models(planned):
    layout = planned.layout()
    assert items_to_do(planned, layout) == {"captions": 12}
    assert planned_items(planned, layout) == 12
    docs, of_docs = planned.by_data_set(layout)[0]
    assert items_to_do(docs, of_docs) == {"captions": 8}
    assert plan_line(planned, layout).splitlines() == [
        "12 items to do",
        "  docs: 4 images in 2 chunks",
        "  photos: 2 images in 2 chunks",
    ]


def test_the_plan_tells_the_key_of_a_long_answer_that_leaves_images_little_room(planned, named):
    config = named("captions: {docs: &c {dataset_path: docs, max_tokens: 8000}, photos: {<<: *c, max_tokens: 80}}")
    notes = plan_notes(config, planned.layout())
    said = "docs: captions.docs.max_tokens: 8,000 of the 8,192 tokens of models.{}.server.max_model_len are kept"
    assert len(notes) == 2
    assert [note.startswith(said.format(name)) for note, name in zip(notes, ("tiny", "tex"), strict=True)] == [True] * 2


def test_a_data_set_that_no_run_has_planned_yet_keeps_nobody_from_asking_again(planned, named):
    config = named("captions: {docs: &c {dataset_path: docs}, photos: {<<: *c, dataset_path: photos}, maps: *c}")
    assert retry_failed(config, None, None, None).items == 0


def test_what_is_asked_again_can_be_of_one_model_alone(planned):
    assert {one.layout.model for one in selected_results(planned, None, None)} == {"tiny", "tex"}
    assert {one.layout.model for one in selected_results(planned, None, None, "tex")} == {"tex"}
    with pytest.raises(ConfigError, match=r"^--model tax: the models are tiny, tex\.$"):
        retry_failed(planned, None, None, None, "tax")


def test_commands_name_the_key_of_a_data_set_that_cannot_be_planned(planned, named):
    config = named("captions: {docs: &c {dataset_path: docs}, maps: {<<: *c, dataset_path: nowhere}}")
    with pytest.raises(InputError, match=r"^maps: captions\.maps\.dataset_path: there is no folder nowhere; "):
        plan_all(config, config.layout())


def test_the_audit_names_the_data_set_in_each_row(planned):
    draw = (Path("photos") / "0.png").read_bytes()
    (Path("photos") / "again.png").write_bytes(draw)
    (Path("docs") / "again.png").write_bytes((Path("docs") / "1.png").read_bytes())
    plan_all(planned, planned.layout())
    report = audit(planned, planned.layout(), [("docs", "captions"), ("photos", "captions")])
    head, *rows = Path("output/audit.tsv").read_text().splitlines()
    assert head.startswith("data_set\ttask\t")
    found = [row.split("\t")[:4] for row in rows if "duplicate_image" in row]
    assert [row[:2] + row[3:] for row in found] == [
        ["docs", "captions", "duplicate_image"],
        ["photos", "captions", "duplicate_image"],
    ]
    assert report.items == 8
    assert "    docs: 1.png, photos: 0.png" in report.text()


def test_the_audit_names_the_keys_of_the_data_set(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": "a", "question": "What?", "answer": "yes"}]
    Path("docs.jsonl").write_text("".join(map(json_line, rows)))
    config = named("qa: {docs: {question_path: docs.jsonl}}")
    plan_all(config, config.layout())
    text = audit(config, config.layout(), [("docs", "qa")]).text()
    assert "  docs: no column qid: each question is called by the number of its row; set qa.docs.columns.qid" in text


def test_of_two_data_sets_one_can_be_audited_alone(planned):
    report = audit(planned, planned.layout(), [("photos", "captions"), ("docs", "qa")])
    assert report.items == 2


def test_an_export_that_the_images_of_a_data_set_do_not_allow_names_it(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_image(Path("docs") / "0.png", 0)
    draw_image(tmp_path / "b.png", 1)
    write_parquet(Path("photos") / "0.parquet", {"b.png": (tmp_path / "b.png").read_bytes()})
    config = named("export: {captions: [coco]}\ncaptions: {docs: {dataset_path: docs}, photos: {dataset_path: photos}}")
    plan_all(config, config.layout())
    with pytest.raises(ConfigError, match=r"^photos: export\.captions: coco names image files, and 'b\.png'"):
        check_exports(config, config.layout())


def test_a_server_is_made_for_what_any_data_set_needs(named):
    config = named("captions: {docs: {dataset_path: x, prompt_styles: [SIMPLE, SHORT]}, photos: {dataset_path: x}}")
    assert work_of(config, "tiny") == {"images": True, "reuse": True}
    alone = named("captions: {docs: {dataset_path: x}}")
    assert work_of(alone, "tiny") == {"images": True, "reuse": False}


def test_the_one_folder_that_a_server_reads_has_to_hold_all_data_sets(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "a/b", "c"):
        (tmp_path / name).mkdir()
    by_file = "client: {image_transport: file}\n"
    config = named(by_file + "captions: {one: {dataset_path: a/b}, all: {dataset_path: a}}")
    assert allowed_folder(config, "tiny") == str(tmp_path / "a")
    text = r"none of captions\.one\.dataset_path \(a/b\), captions\.all\.dataset_path \(a\) and captions\.other\."
    with pytest.raises(ConfigError, match=text):
        named(by_file + "captions: {one: {dataset_path: a/b}, all: {dataset_path: a}, other: {dataset_path: c}}")


def test_answer_sets_are_of_all_data_sets_and_name_theirs(named):
    config = named(WITH_MERGE)
    sets = answer_sets(config, config.layout())
    assert [(one.data_set, one.model, one.context) for one in sets] == [
        ("docs", "tiny", "image"),
        ("docs", "tiny", "caption_short"),
        ("docs", "tex", "image"),
        ("docs", "tex", "caption_short"),
        ("photos", "tiny", "image"),
        ("photos", "tex", "image"),
    ]
    assert sets[-1].results == "output/photos/qa/tex/tex_qa_results.json"
    assert len({one.key for one in sets}) == 6


def test_a_dry_run_names_what_each_data_set_is_asked():
    named = {
        "docs": {"captions": PendingRequests(2, 4), "qa": PendingRequests(1, 1)},
        "idle": {"qa": PendingRequests(0, 0)},
        "photos": {"qa": PendingRequests(3, 3)},
    }
    text = "docs: 2 images to caption (4 requests) and 1 question to answer, photos: 3 questions to answer"
    assert dry_run_text([PlannedWork("tiny", {}, 1, named=named)], 2) == f"{text}, 1 server to start"


def test_a_dry_run_of_many_models_and_data_sets_has_a_line_for_each():
    docs, photos = {"captions": PendingRequests(2, 4), "qa": PendingRequests(1, 3)}, {"qa": PendingRequests(3, 3)}
    same = {"docs": docs, "photos": photos, "idle": {"qa": PendingRequests(0, 0)}}
    work = [
        PlannedWork("tiny", {}, 1, named=same),
        PlannedWork("tex", {}, 2, named=same),
        PlannedWork("idle", {}, 0, named={"docs": {"qa": PendingRequests(0, 0)}}),
        PlannedWork("own", {}, 0, "http://a:1", {"photos": photos}),
    ]
    assert dry_run_text(work, 2).splitlines() == [
        "would ask 3 models, one after another:",
        "  tiny, 1 server to start",
        "  tex, 2 servers to start:",
        "    docs: 2 images to caption (4 requests) and 1 question to answer (3 requests)",
        "    photos: 3 questions to answer",
        "  own, by the server at http://a:1:",
        "    photos: 3 questions to answer",
        "  together 23 requests",
    ]
    judge = PlannedWork("judge", {}, 1, named={"docs": {"judge": PendingRequests(4, 4, at_most=True)}})
    lines = dry_run_text([*work, judge], 2, "side_by_side").splitlines()
    assert (lines[0], lines[-1]) == ("would ask 4 models, side by side:", "  together up to 27 requests")


def test_the_status_of_a_grid_has_a_row_for_each_model_and_task(planned, named):
    styles = [f"S{number}" for number in range(8)]
    prompts = f"prompt_styles: {styles}, prompts: {{{', '.join(f'{style}: {style}' for style in styles)}}}"
    config = named(
        f"captions: {{docs: &c {{dataset_path: docs, {prompts}}}, photos: {{<<: *c, dataset_path: photos}}}}"
    )
    status = read_status(config, config.layout())
    assert len(status.files) == 32
    lines = status_text(status, Path("my.yaml")).splitlines()
    assert [line.partition("  ")[2].partition("   ")[0].strip() for line in lines[2:7]] == [
        "docs: tiny: captions, 8 files",
        "docs: tex: captions, 8 files",
        "photos: tiny: captions, 8 files",
        "photos: tex: captions, 8 files",
        "together",
    ]
    assert lines[6].split()[1:] == ["0", "of", "64", "96", "0", "0", "0", "96"]
    assert any(line.endswith("each by itself: captionqa status my.yaml --data-set docs") for line in lines)
    lines = estimate_text(config, config.layout()).splitlines()
    assert lines[0].startswith("docs: tiny: captions: 32 requests, ")
    assert lines[4].startswith("together: 96 requests, ")
    # of one data set each file has a row
    docs = config.of_data_set("docs")
    assert status_text(read_status(docs, docs.layout()), Path("my.yaml")).count("docs: tiny: captions S") == 8


def test_failures_of_files_that_share_a_row_are_counted_together():
    counts = (4, 4, 60, 58, 2, 0, True)
    files = [
        FileStatus("tiny: qa", *counts, {"timeout": 2}, "qa_failures.json", "tiny: qa"),
        FileStatus("tiny: qa none", *counts, {"timeout": 1, "empty_output": 1}, "none_failures.json", "tiny: qa"),
        FileStatus("tex: qa", *counts[:-1], False, {}, "tex_failures.json", "tex: qa"),
    ]
    tiny, tex = grouped(files)
    assert (tiny.name, tiny.files, tiny.items, tiny.failed, tiny.merged) == ("tiny: qa", 2, 120, 4, True)
    assert tiny.failures_by_reason == {"timeout": 3, "empty_output": 1}
    assert tiny.failures_path == "qa_failures.json and 1 more"
    assert (tex.files, tex.merged, tex.failures_path) == (1, False, "")


@pytest.mark.parametrize(
    ("data_sets", "said"),
    [
        (
            "captions: {docs: {prompt_styles: [SHORT]}}\nqa: {doc: {question_path: x, contexts: [caption]}}",
            r"captions\.docs: there is no dataset_path, and no qa\.docs \(did you mean 'doc'\?\) whose images",
        ),
        (
            "captions: {docs: {dataset_path: x}}\nqa: {doc: {question_path: x, contexts: [caption]}}",
            r"qa\.doc\.contexts: caption needs captions\.doc, and there is none \(did you mean 'docs'\?\)",
        ),
        (
            "captions: {docs: {dataset_path: x}, maps: {}}\nqa: {docs: {question_path: x}}",
            r"captions\.maps: there is no dataset_path, and no qa\.maps whose images",
        ),
    ],
)
def test_a_data_set_that_is_called_otherwise_in_the_other_section_is_named(named, data_sets, said):
    with pytest.raises(ConfigError, match=said):
        named(data_sets)


def test_the_record_of_the_hub_is_of_the_data_set(tmp_path):
    layout = Layout(str(tmp_path)).of_data_set("docs")
    assert read_hub_record(layout) == {}
    record = {"hf://datasets/a/b": {"commit": "c", "path": "p"}}
    Path(layout.hub_data).parent.mkdir(parents=True)
    Path(layout.hub_data).write_text(json.dumps(record))
    assert read_hub_record(layout) == record
    assert read_hub_record(Layout(str(tmp_path))) == {}
