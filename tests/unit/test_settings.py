"""The fingerprint changes with what decides an answer and with nothing else; images are fitted to the context."""

from contextlib import nullcontext

import pytest
from captionqa.config.context_length import image_room_notes
from captionqa.config.pixel_presets import PIXEL_PRESETS
from captionqa.config.settings import answer_fingerprint, caption_settings, fingerprint, image_budget_px, qa_settings
from captionqa.errors import ConfigError
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def prints(make_config):
    """The fingerprints of SIMPLE captions and of the questions under changes of the configuration."""

    def of(changes=None):
        config = make_config(changes)
        model = config.model_name
        return fingerprint(caption_settings(config, model, "SIMPLE")), fingerprint(qa_settings(config, model))

    return of


@pytest.mark.parametrize(
    "changes",
    [
        {"models": {"tiny": {"path": "org/other"}}},
        {"models": {"tiny": {"server": {"max_model_len": 4096}}}},
        {"client": {"images": {"max_pixels": 100_000}}},
        {"client": {"images": {"max_pixels": None}}},
        {"client": {"images": {"pixel_grid_px": 28}}},
        {"client": {"images": {"max_source_pixels": 1_000_000}}},
        {"client": {"images": {"frame": 0}}},
        {"client": {"images": {"colour": "as_is"}}},
        {"client": {"images": {"damaged": "send"}}},
        *({"client": {"sampling": {key: 0.5}}} for key in ("temperature", "top_p", "min_p", "repetition_penalty")),
        *({"client": {"sampling": {key: 1}}} for key in ("top_k", "presence_penalty", "frequency_penalty", "seed")),
    ],
    ids=str,
)
def test_what_decides_an_answer_changes_the_fingerprint(prints, changes):
    before, after = prints(), prints(changes)
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_the_texts_of_a_model_change_its_own_answers_alone(make_config):
    both = {"models": {"other": {"path": "org/other"}}}
    own = {"prompts": {"SIMPLE": "Say what you see."}, "instruction": "Answer with a letter."}
    base = {"captions": {"prompts": {"SIMPLE": "Look."}}, "qa": {"instruction": "Answer."}}
    before, after = make_config(base | both), make_config(base | both | {"models": {**both["models"], "tiny": own}})
    for settings in (lambda *of: caption_settings(*of, "SIMPLE"), qa_settings):
        assert fingerprint(settings(before, "other")) == fingerprint(settings(after, "other"))
        assert fingerprint(settings(before, "tiny")) != fingerprint(settings(after, "tiny"))
    assert caption_settings(after, "tiny", "SIMPLE")["prompt"] == "Say what you see."
    assert qa_settings(after, "tiny")["instruction"] == "Answer with a letter."
    same = make_config(base | {"models": {"tiny": {"prompts": {"SIMPLE": "Look."}, "instruction": "Answer."}}})
    assert fingerprint(qa_settings(same, "tiny")) == fingerprint(qa_settings(before, "tiny"))
    none = make_config(base | {"models": {"tiny": {"instruction": ""}}})
    assert "instruction" not in qa_settings(none, "tiny")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"models": {"tiny": {"prompts": {"SHRT": "x"}}}, "captions": {"prompt_styles": ["SHORT"]}},
            r"models.tiny.prompts: 'SHRT' is none of captions.prompt_styles \(did you mean 'SHORT'\?\); add it",
        ),
        (
            {"models": {"tiny": {"instruction": "x"}}, "qa": {"instructions": {"open_ended": "y"}}},
            "models.tiny.instruction: qa has instructions by the type of question",
        ),
        (
            {"models": {"tiny": {"instruction": "x"}}, "qa": {"protocol": "captionqa"}},
            "models.tiny.instruction: qa.protocol fixes how questions are asked",
        ),
        (
            {
                "models": {"tiny": {"prompts": {"SIMPLE": "x"}}, "big": {"path": "org/big"}},
                "qa": {"contexts": ["caption"], "reader": "tiny"},
            },
            "models.tiny.prompts: tiny is the reader, which writes no captions",
        ),
        (
            {"models": {"big": {"path": "org/big", "prompts": {"SIMPLE": "x"}}}, "qa": {"judge": {"model": "big"}}},
            "models.big.prompts: big is the judge, which writes no captions",
        ),
        (
            {"models": {"big": {"path": "org/big", "instruction": "x"}}, "qa": {"judge": {"model": "big"}}},
            "models.big.instruction: big is the judge, which is asked by qa.judge.prompt",
        ),
    ],
)
def test_texts_of_a_model_that_are_asked_nowhere_are_refused(make_config, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_config(changes)


def test_log_probabilities_change_the_answers_of_questions_alone_and_only_where_they_are_asked_for(prints):
    before, asked = prints(), prints({"client": {"logprobs": 0}})
    assert asked[0] == before[0]
    assert asked[1] != before[1]
    assert prints({"client": {"logprobs": 3}})[1] != asked[1]
    assert prints({"client": {"logprobs": None}}) == before


def test_the_prompt_and_the_length_change_their_own_task_alone(prints):
    before = prints()
    prompt = prints({"captions": {"prompts": {"SIMPLE": "Say what you see."}}})
    assert prompt[0] != before[0]
    assert prompt[1] == before[1]
    length = prints({"qa": {"max_tokens": 5}})
    assert length[0] == before[0]
    assert length[1] != before[1]


def test_an_instruction_asks_all_questions_again_and_a_fallback_changes_no_answer(prints, make_config):
    before = prints()
    instruction = prints({"qa": {"instruction": "Answer in one word."}})
    assert instruction[0] == before[0]
    assert instruction[1] != before[1]
    fallback = prints({"qa": {"fallback": True}})
    assert fallback[0] == before[0]
    assert fallback[1] != before[1]
    assert answer_fingerprint(qa_settings(make_config({"qa": {"fallback": True}}), "tiny")) == before[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"output_dir": "elsewhere"},
        {"captions": {"chunks": 7, "dataset_path": "elsewhere"}},
        {"captions": {"prompt_styles": ["SIMPLE", "LONG"]}},
        {"qa": {"chunks": 7}},
        {"client": {"concurrency": 99, "max_attempts": 9, "max_failed_fraction": 1, "server_wait_s": 5}},
        {"client": {"images": {"allowed_roots": ["elsewhere"]}}},
        {"client": {"images": {"frame": "auto", "colour": "srgb", "damaged": "fail"}}},
        {"models": {"tiny": {"server": {"port": 8000, "tensor_parallel_size": 2, "start_timeout_s": 5}}}},
        {"models": {"tiny": {"served_model_name": "nick"}}},
    ],
    ids=str,
)
def test_what_decides_no_answer_leaves_the_fingerprint(prints, changes):
    assert prints(changes) == prints()


def test_the_context_length_matters_only_where_images_are_fitted_to_it(prints):
    fixed = {"client": {"images": {"max_pixels": 100_000}}}
    longer = {**fixed, "models": {"tiny": {"server": {"max_model_len": 4096}}}}
    assert prints(fixed) == prints(longer)


def test_the_name_on_an_existing_server_decides_since_it_alone_picks_the_model(prints):
    elsewhere = {"url": "http://elsewhere:8000"}
    named = prints({"models": {"tiny": {**elsewhere, "served_model_name": "nick"}}})
    assert prints({"models": {"tiny": elsewhere}}) != named
    assert prints({"models": {"tiny": {"url": "http://moved:8000", "served_model_name": "nick"}}}) == named


@pytest.mark.parametrize(("key", "value"), [("temperature", 0.0), ("top_p", 1.0), ("presence_penalty", -0.0)])
def test_how_a_number_is_written_leaves_the_fingerprint(prints, key, value):
    assert prints({"client": {"sampling": {key: value}}}) == prints()


def test_leaving_a_value_to_the_server_changes_the_fingerprint(prints):
    assert prints({"client": {"sampling": {"temperature": None}}}) != prints()


def test_a_fingerprint_is_twelve_hexadecimal_digits_whatever_the_order():
    first, second = fingerprint({"a": 1, "b": {"c": 2, "d": 3}}), fingerprint({"b": {"d": 3, "c": 2}, "a": 1})
    assert first == second
    assert len(first) == 12
    assert set(first) <= set("0123456789abcdef")


def test_a_photograph_of_12_megapixels_does_not_fit_by_default(make_config):
    budget = image_budget_px(qa_settings(make_config(), "tiny"), 1)
    assert 1_000_000 < budget < 12_000_000


@given(context=st.integers(64, 262_144), words=st.integers(1, 4096), images=st.integers(1, 40), grid=st.integers(1, 64))
def test_all_images_of_an_item_fit_the_context_together(make_config, context, words, images, grid):
    settings = {"images": {"max_pixels": "auto", "pixel_grid_px": grid}, "max_model_len": context, "max_tokens": words}
    budget = image_budget_px(settings, images)
    assert budget >= grid**2
    if images <= (context - words) // 2:
        assert images * budget / grid**2 + words < context


@pytest.mark.parametrize(("wanted", "budget"), [(None, None), (65_536, 65_536)])
def test_a_limit_of_the_users_own_does_not_depend_on_the_number_of_images(make_config, wanted, budget):
    settings = qa_settings(make_config({"client": {"images": {"max_pixels": wanted}}}), "tiny")
    assert image_budget_px(settings, 1) == budget
    assert image_budget_px(settings, 9) == budget


@pytest.mark.parametrize(
    ("qa", "images", "is_refused"),
    [
        ({"max_tokens": 8192}, {}, True),
        ({"max_tokens": 8191}, {}, False),
        ({"max_tokens": 8192}, {"max_pixels": "document"}, True),
        ({"max_tokens": 8192}, {"max_pixels": 1_000_000}, False),
        ({"max_tokens": 8192, "contexts": ["none"]}, {}, False),
    ],
)
def test_no_image_is_shrunk_to_nothing_for_the_sake_of_a_long_answer(make_config, qa, images, is_refused):
    refused = pytest.raises(ConfigError, match=r"^qa\.max_tokens: .* 8,192, which leaves none for images: raise it")
    with refused if is_refused else nullcontext():
        make_config({"qa": qa, "client": {"images": images}})


KEPT = (
    "qa.max_tokens: {} of the 8,192 tokens of models.tiny.server.max_model_len are kept for an answer, so images above "
    "{} megapixels are shrunk; for the {} set qa.max_tokens to {} or less, or max_model_len to {} or more"
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"qa": {"max_tokens": 7900}}, [KEPT.format("7,900", "0.15", "4.01 of qwen_eval", "3,760", "12,332")]),
        ({"qa": {"max_tokens": 7900}, "models": {"tiny": {"server": {"max_model_len": 12_332}}}}, []),
        ({"qa": {"max_tokens": 3760}}, []),
        ({"qa": {"max_tokens": 4097}}, [KEPT.format("4,097", "3.67", "4.01 of qwen_eval", "3,760", "8,529")]),
        # a short context, of which an answer gets the smaller part
        ({"qa": {"max_tokens": 4096}}, []),
        ({"models": {"tiny": {"server": {"max_model_len": 2048}}}}, []),
        ({"models": {"tiny": {"server": {"max_model_len": None}}}, "qa": {"max_tokens": 7900}}, []),
        ({"qa": {"max_tokens": 7900, "contexts": ["none"]}}, []),
        ({"qa": {"max_tokens": 7900}, "client": {"images": {"max_pixels": 1_000_000}}}, []),
        ({"qa": {"max_tokens": 5632}, "client": {"images": {"max_pixels": "document"}}}, []),
        (
            {"qa": {"max_tokens": 5633}, "client": {"images": {"max_pixels": "document"}}},
            [KEPT.format("5,633", "2.10", "2.10 of document", "5,632", "8,193")],
        ),
        (
            {
                "captions": None,
                "client": {"images": {"max_pixels": "qwen_eval"}},
                "models": {"tiny": {"server": {"max_model_len": 4096}}},
            },
            [
                "qa.max_tokens: 128 of the 4,096 tokens of models.tiny.server.max_model_len are kept for an answer, so "
                "images above 3.54 megapixels are shrunk; for the 4.01 of qwen_eval set max_model_len to 4,560 or more"
            ],
        ),
    ],
    ids=str,
)
def test_images_that_a_long_answer_leaves_little_room_are_told_with_what_to_set(make_config, changes, said):
    assert list(image_room_notes(make_config(changes))) == said


def test_without_a_known_context_length_images_are_not_limited(make_config):
    config = make_config({"models": {"tiny": {"server": {"max_model_len": None}}}})
    assert image_budget_px(qa_settings(config, "tiny"), 1) is None


def test_what_later_versions_added_is_no_part_of_the_settings_at_its_default(make_config):
    """Else an update would repeat all requests."""
    assert caption_settings(make_config(), "tiny", "SIMPLE")["images"].keys() == {
        "max_pixels",
        "pixel_grid_px",
        "max_source_pixels",
    }


def test_a_preset_of_pixels_is_its_number_within_what_fits(make_config):
    def of(value, images=1, max_model_len=8192, max_tokens=256):
        config = make_config(
            {
                "client": {"images": {"max_pixels": value}},
                "captions": {"max_tokens": max_tokens},
                "models": {"tiny": {"server": {"max_model_len": max_model_len}}},
            }
        )
        settings = caption_settings(config, "tiny", "SIMPLE")
        return fingerprint(settings), image_budget_px(settings, images)

    assert of("fits") == of("auto")
    assert [of(name)[1] for name in PIXEL_PRESETS] == [1280 * 32 * 32, 2048 * 32 * 32, 5120 * 28 * 28]
    assert of("qwen_eval", images=4)[1] == of("auto", images=4)[1] < 5120 * 28 * 28
    assert of("qwen_eval", max_model_len=None)[1] == 5120 * 28 * 28
    assert of(5120 * 28 * 28, images=4)[1] == 5120 * 28 * 28
    assert len({of(value)[0] for value in ("auto", "qwen_readme", 1280 * 32 * 32, None)}) == 4


@pytest.mark.parametrize(
    ("max_pixels", "expected"), [("auto", "76732d315002"), (None, "e148e76c2567"), (1280 * 32 * 32, "a89b0f4665be")]
)
def test_the_fingerprints_of_finished_runs_hold(make_config, max_pixels, expected):
    config = make_config({"client": {"images": {"max_pixels": max_pixels}}})
    assert fingerprint(caption_settings(config, "tiny", "SIMPLE")) == expected
