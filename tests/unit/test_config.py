"""The configuration: defaults from the schema, and errors that name the key and what to do."""

import copy
import dataclasses
import json

import pytest
import yaml
from captionqa.config.audit_config import AuditConfig
from captionqa.config.captions_config import CaptionsConfig
from captionqa.config.check import check
from captionqa.config.client_config import ClientConfig, ImagesConfig
from captionqa.config.config import Config
from captionqa.config.model_config import ModelConfig, ServerConfig
from captionqa.config.qa_config import QaConfig
from captionqa.errors import ConfigError


def test_defaults_are_filled_in_at_every_depth(schema):
    config = check({"models": {"tiny": {"path": "org/tiny"}}, "captions": {"dataset_path": "images"}}, schema)
    assert config.output_dir == "output"
    assert config.captions.prompt_styles == ["SIMPLE"]
    assert config.captions.max_tokens == 256
    model = config.models["tiny"]
    assert model.url is None
    assert model.server.port == 8000
    assert model.server.lease_timeout_s == 120
    assert config.client.max_failed_fraction == 0.05
    assert config.client.images.max_pixels == "auto"
    assert config.client.images.pixel_grid_px == 32
    assert config.client.sampling["temperature"] == 0


def test_qa_has_its_own_default_of_tokens(make_config):
    assert make_config().qa.max_tokens == 128


def test_given_values_win_over_defaults(make_config):
    changes = {"captions": {"max_tokens": 5}, "models": {"tiny": {"server": {"port": 8000}}}}
    config = make_config(changes)
    assert config.captions.max_tokens == 5
    assert config.models["tiny"].server.port == 8000


def test_defaults_of_one_configuration_do_not_leak_into_another(make_config):
    first = make_config()
    first.captions.prompt_styles.append("SHORT")
    first.client.images.allowed_roots.append("elsewhere")
    first.model.server.extra_args.append("--flag")
    second = make_config()
    assert second.captions.prompt_styles == ["SIMPLE"]
    assert second.client.images.allowed_roots == []
    assert second.model.server.extra_args == []


def test_checking_a_checked_configuration_changes_nothing(raw_config, schema):
    raw = raw_config()
    config = check(raw, schema)
    completed = copy.deepcopy(raw)
    assert check(raw, schema) == config
    assert raw == completed


def test_jobs_read_a_completed_configuration_without_the_schema(raw_config, schema):
    raw = raw_config()
    config = check(raw, schema)
    assert Config.of(json.loads(json.dumps(raw))) == config


def test_every_key_of_the_schema_is_a_field_and_the_reverse(schema):
    """The records would refuse a key that they do not know only when a run begins."""

    def fields(record):
        return {field.name for field in dataclasses.fields(record)}

    top, model = schema["properties"], schema["$defs"]["model"]["properties"]
    assert fields(Config) == set(top) | {"named", "data_set", "run_reader", "run_judge"}  # no user's
    assert fields(ModelConfig) == set(model) | {"version_key"}  # which no user sets
    assert fields(ServerConfig) - {"allowed_local_media_path"} == set(model["server"]["properties"])
    assert fields(CaptionsConfig) == set(top["captions"]["properties"]) | {
        "hub",
        "questions_root",
        "schema_text",
    }  # no user's
    assert fields(QaConfig) == set(top["qa"]["properties"]) | {"hub"}
    assert fields(AuditConfig) == set(top["audit"]["properties"])
    assert fields(ClientConfig) == set(top["client"]["properties"])
    assert fields(ImagesConfig) == set(top["client"]["properties"]["images"]["properties"])


@pytest.mark.parametrize(
    ("changes", "nearest"),
    [
        ({"caption": {}}, "captions"),
        ({"outputdir": "x"}, "output_dir"),
        ({"models": {"tiny": {"pathe": "x"}}}, "path"),
        ({"models": {"tiny": {"server": {"tensor_paralel_size": 2}}}}, "tensor_parallel_size"),
        ({"captions": {"prompt_style": ["SIMPLE"]}}, "prompt_styles"),
        ({"qa": {"questions_path": "x"}}, "question_path"),
        ({"client": {"concurency": 4}}, "concurrency"),
        ({"client": {"images": {"max_pixel": 4}}}, "max_pixels"),
        ({"client": {"sampling": {"Temprature": 1}}}, "temperature"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(make_config, changes, nearest):
    with pytest.raises(ConfigError, match=f"unknown key .*did you mean '{nearest}'"):
        make_config(changes)


def test_an_unknown_key_like_no_other_is_answered_with_the_known_ones(make_config):
    with pytest.raises(ConfigError) as error:
        make_config({"client": {"zzz": 1}})
    assert "client: unknown key 'zzz'" in str(error.value)
    assert "did you mean" not in str(error.value)
    assert "request_timeout_s" in str(error.value)


@pytest.mark.parametrize(("section", "key"), [("captions", "dataset_path"), ("qa", "question_path")])
def test_a_missing_key_is_named_with_its_place(raw_config, schema, section, key):
    config = raw_config()
    del config[section][key]
    with pytest.raises(ConfigError, match=f"{section}: the key '{key}' is missing"):
        check(config, schema)


def test_a_model_without_a_path_is_named(raw_config, schema):
    config = raw_config()
    del config["models"]["tiny"]["path"]
    with pytest.raises(ConfigError, match=r"models\.tiny: the key 'path' is missing"):
        check(config, schema)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"captions": {"max_tokens": "many"}}, r"captions\.max_tokens: must be a whole number, not 'many'"),
        ({"captions": {"max_tokens": 0}}, r"captions\.max_tokens"),
        ({"captions": {"chunks": 0}}, r"captions\.chunks: .*'auto' or a whole number from 1 to 1024"),
        ({"captions": {"chunks": "some"}}, r"captions\.chunks: .*'auto'"),
        ({"export": {"captions": ["jsonll"]}}, r"export\.captions: 'jsonll' is not .* txt \(did you mean 'jsonl'\?\)"),
        ({"qa": {"contexts": ["img"]}}, r"qa\.contexts: .* or gray, not 'img' \(did you mean 'image'\?\)\."),
        ({"qa": {"columns": {"choices": ["A"]}}}, r"qa\.columns\.choices: choices must be 'auto', null, a column"),
        (
            {"qa": {"scoring": "vqa", "relative_tolerance": 0.05}},
            r"qa\.relative_tolerance: .*no tolerance; set it to 0",
        ),
        ({"qa": {"answer_is": "index"}}, r"qa\.answer_is: .*index0"),
        ({"qa": {"chunks": 1025}}, r"qa\.chunks: .*1024"),
        ({"client": {"images": {"max_pixels": "all"}}}, r"client\.images\.max_pixels: .*'qwen_readme'"),
        ({"client": {"max_failed_fraction": 1.5}}, r"client\.max_failed_fraction"),
        ({"client": {"request_timeout_s": 0}}, r"client\.request_timeout_s"),
        ({"models": {"tiny": {"url": "localhost:8000"}}}, r"models\.tiny\.url: .*http"),
        ({"models": {"tiny": {"url": "http://me:secret@node:8000"}}}, r"models\.tiny\.url: .*without a password"),
        ({"models": {"tiny": {"url": "http://node:8000/v1?key=secret"}}}, r"models\.tiny\.url: .*without a password"),
        ({"models": {"tiny": {"server": {"dtype": "int4"}}}}, r"models\.tiny\.server\.dtype"),
        ({"models": {"tiny": {"server": {"env": {"THREADS": 4}}}}}, r"server\.env\.THREADS: must be text, not 4"),
        ({"models": {"tiny": {"server": {"lease_timeout_s": 1}}}}, r"server\.lease_timeout_s"),
        ({"models": {"a/b": {"path": "x"}}}, "models"),
        ({"models": {"Tiny": {"path": "x"}}}, r"models\.Tiny: Tiny and tiny differ in case alone, and so would their"),
        ({"qa": {"reader": "tinny"}}, "qa.reader: 'tinny' is none of models"),
        ({"qa": {"reader": "tiny"}}, "qa.reader: 'tiny' is the only model"),
        (
            {"models": {"other": {"path": "x"}}, "qa": {"reader": "other"}},
            "qa.reader: a reader answers from captions; add caption to qa.contexts.",
        ),
        ({"servers": "both"}, "servers must be one_at_a_time or side_by_side"),
        ({"captions": {"prompt_styles": []}}, r"captions\.prompt_styles"),
        ({"captions": {"prompt_styles": "SIMPLE"}}, r"captions\.prompt_styles: must be a list: \[SIMPLE\]"),
        ({"captions": {"prompts": {"../up": "text"}}}, r"captions\.prompts: '../up' is no name: .* only; try up"),
        (
            {"captions": {"prompts": {"Alt text": "text"}}},
            r"captions\.prompts: 'Alt text' is no name: .*try Alt_text",
        ),
        ({"output_dir": "out{model}"}, r"output_dir: 'out\{model\}' must not hold a brace"),
        ({"output_dir": "out}"}, r"output_dir: 'out\}' must not hold a brace"),
        ({"captions": "images"}, "captions: must be a section of keys or empty, not 'images'"),
        ({"client": None}, "client: nothing is given here; leave the key out"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_place(make_config, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_config(changes)


def test_a_model_name_that_is_a_path_is_refused_in_plain_words(raw_config, schema):
    config = raw_config()
    config["models"] = {"Qwen/Qwen3-VL": {"path": "Qwen/Qwen3-VL"}}
    with pytest.raises(ConfigError, match="English letters, digits, dots, dashes and underscores only"):
        check(config, schema)


def test_an_empty_configuration_says_what_is_missing(schema):
    with pytest.raises(ConfigError, match="the key 'models' is missing"):
        check({}, schema)


@pytest.mark.parametrize("task", ["captions", "qa"])
@pytest.mark.parametrize("how", ["left out", "null"])
def test_leaving_out_a_task_leaves_the_other(raw_config, schema, task, how):
    config = raw_config()
    config.update({task: None}) if how == "null" else config.pop(task)
    assert check(config, schema).tasks == [{"captions": "qa", "qa": "captions"}[task]]


def test_asking_for_nothing_is_an_error(raw_config, schema):
    config = raw_config()
    del config["captions"], config["qa"]
    with pytest.raises(ConfigError, match="asks for nothing"):
        check(config, schema)


def test_an_unknown_prompt_style_is_an_error_that_names_the_nearest(make_config):
    with pytest.raises(ConfigError, match=r"'SIMPEL' is no prompt style .*did you mean 'SIMPLE'"):
        make_config({"captions": {"prompt_styles": ["SIMPEL"]}})


def test_a_style_of_the_users_own_is_known(make_config):
    captions = {"prompt_styles": ["POEM", "LONG"], "prompts": {"POEM": "Write a poem."}}
    assert make_config({"captions": captions}).captions.prompt_styles == ["POEM", "LONG"]


@pytest.mark.parametrize("styles", [["SHORT", "short"], ["SHORT", "SHORT"]])
def test_two_styles_that_would_write_one_file_are_refused(make_config, styles):
    with pytest.raises(ConfigError):
        make_config({"captions": {"prompt_styles": styles, "prompts": {"short": "Briefly."}}})


@pytest.mark.parametrize("style", ["SHORT_STATISTICS", "short_failures"])
def test_a_style_that_would_write_a_file_beside_another_is_refused(make_config, style):
    captions = {"prompt_styles": [style, "SHORT"], "prompts": {style: "Briefly."}}
    with pytest.raises(ConfigError, match=f"'{style}' would write a file that stands beside the captions of 'SHORT'"):
        make_config({"captions": captions})
    make_config({"captions": {**captions, "prompt_styles": [style]}})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--model=org/other"], "--model would serve another model .* give it as path"),
        (["--port", "9000"], "--port would .* give it as server.port"),
        (["--api_key=secret"], "--api-key would .* leave it out"),
    ],
    ids=str,
)
def test_an_argument_with_which_no_client_could_use_the_server_is_refused(make_config, given, why):
    with pytest.raises(ConfigError, match=why):
        make_config({"models": {"tiny": {"server": {"extra_args": given}}}})


@pytest.mark.parametrize(
    "given",
    ["--max-num-seqs 64", ["--max-num-seqs 64"], ["--max-num-seqs", 64], {"--max-num-seqs": 64}, ["--enforce-eager "]],
    ids=str,
)
def test_arguments_that_are_not_one_word_each_are_refused_with_an_example(make_config, given):
    with pytest.raises(ConfigError, match=r"extra_args: an option and its value are two texts .*\[\"--max-num"):
        make_config({"models": {"tiny": {"server": {"extra_args": given}}}})
    spaced = ["--hf-overrides", '{"a": 1}', '--hf-overrides={"a": 1}', "--download-dir", "/my disk/hub"]
    make_config({"models": {"tiny": {"server": {"extra_args": spaced}}}})


def test_a_whole_number_with_a_point_is_a_whole_number(make_config):
    changes = {"replicas": 2.0, "api_servers": 4.0, "start_timeout_s": 9.0}
    config = make_config({"models": {"tiny": {"server": changes}}, "captions": {"chunks": 3.0}})
    server, captions = config.model.server, config.captions
    found = [server.replicas, server.api_servers, captions.chunks, server.start_timeout_s]
    assert list(map(str, found)) == ["2", "4", "3", "9.0"]


@pytest.mark.parametrize(("given", "served"), [(None, "org/tiny"), ("nick", "nick")])
def test_the_server_answers_to_the_path_unless_named(make_config, given, served):
    config = make_config({"models": {"tiny": {"served_model_name": given}}})
    assert config.model_name == "tiny"
    assert config.model.served_name == served


def test_the_shipped_configurations_are_valid(workflow_folder, schema):
    shipped = sorted((workflow_folder.parent / "config").glob("*.yaml"))
    assert shipped
    for path in shipped:
        check(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def test_a_configuration_survives_the_way_to_another_process_as_json(make_config):
    config = make_config(
        {
            "captions": {"prompt_styles": ["SIMPLE", "X"], "prompts": {"X": "What?"}, "limit": 0.5},
            "qa": {"columns": {"choices": ["A", "B"], "category": {"constant": "all"}}, "contexts": ["image", "none"]},
            "models": {"tiny": {"server": {"extra_args": ["--seed", "1"], "tensor_parallel_size": 2}}},
        }
    )
    assert Config.of(json.loads(json.dumps(dataclasses.asdict(config)))) == config
