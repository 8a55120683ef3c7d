"""The estimate: requests and tokens that are left, and the time that they take."""

import time
from dataclasses import asdict

import pandas as pd
import pytest
import yaml
from captionqa.client.chunk_run import ChunkRun
from captionqa.config.layout import Layout
from captionqa.dataset.planning import plan_task
from captionqa.driver import pixel_savings as pixel_savings_module
from captionqa.driver.command_line import main
from captionqa.driver.estimate import estimate_text
from captionqa.driver.gpu_time import Tokens, active_parameters, gpu_seconds
from captionqa.driver.item_sample import sampled_items
from captionqa.driver.measured_rates import VARIABLE, MeasuredRate
from captionqa.driver.pixel_savings import dry_run_savings
from captionqa.files import read_json_lines, write_json
from captionqa.run.lease import LeaseKeeper
from PIL import Image


@pytest.fixture
def estimate(make_config):
    """The lines of the estimate of a configuration with the changes merged in."""

    def lines(changes):
        config = make_config(changes)
        layout = Layout(config.output_dir, config.model_name)
        for task in config.tasks:
            plan_task(config, layout, task)
        return estimate_text(config, layout).splitlines()

    return lines


@pytest.fixture
def photographs(images):
    """Three images: 100 x 60 pixels twice, and 6,400 x 3,200."""
    for name, size in (("a.png", (100, 60)), ("b.png", (100, 60)), ("c.png", (6400, 3200))):
        Image.new("RGB", size).save(images.path / name)
    return images


def test_tokens_are_counted_by_the_models_grid_and_the_limit(photographs, estimate):
    lines = estimate({"qa": None, "captions": {"prompts": {"X": "x" * 400}, "prompt_styles": ["X"], "max_tokens": 90}})
    # 100 x 60 pixels are 3 x 2 squares; 8192 - 90 - 512 = 7590 tokens are left for the third, which fills 123 x 61
    mean = (6 + 6 + 123 * 61) / 3
    assert lines[:4] == [
        "captions X: 3 requests to send",
        "  images: 0.01 megapixels (median), 20.48 at most; 33% are shrunk before they are sent (of 3 looked at)",
        f"  tokens of a request: {mean:,.0f} of images, about 115 of text, at most 90 of the answer",
        "together: 3 requests, 7,860 prompt tokens, at most 270 answer tokens",
    ]
    # 1,600 x 800 pixels are 50 x 25 squares, at most 1,280; 2,048 x 1,024 are 64 x 32, 2,833 x 1,416 are 88 x 44
    now = 12 + 123 * 61
    presets = ("1.3", "qwen_readme", 50 * 25), ("2.1", "document", 64 * 32), ("4.0", "qwen_eval", 88 * 44)
    assert lines[4:7] == [
        f"  1 of 3 images to send are above {limit} megapixels; client.images.max_pixels: {name} would save "
        f"{now - 12 - tokens:,} of {now:,} image tokens"
        for limit, name, tokens in presets
    ]
    lines = estimate({"qa": None, "client": {"images": {"max_pixels": "qwen_readme"}}})
    assert not any("would save" in line for line in lines)


def test_a_dry_run_says_what_smaller_images_would_save(photographs, make_config, monkeypatch):
    config = make_config({"captions": {"prompt_styles": ["SIMPLE", "SHORT"], "max_tokens": 90}})
    layout = Layout(config.output_dir, config.model_name)
    plan_task(config, layout, "captions")
    text = dry_run_savings(config, layout, {"captions": 6, "qa": 0})
    assert text == (
        "2 of 6 images to send are above 1.3 megapixels; client.images.max_pixels: qwen_readme would save 12,506 of "
        "15,030 image tokens"
    )
    assert dry_run_savings(config, layout, {"captions": 4}).startswith("about 1 of 4 images")
    monkeypatch.setattr(pixel_savings_module, "DRY_RUN_S", -1.0)  # no time to look at any image
    assert dry_run_savings(config, layout, {"captions": 6}) is None
    small = make_config({"client": {"images": {"max_pixels": "qwen_readme"}}})
    assert dry_run_savings(small, layout, {"captions": 3}) is None


def test_a_sample_of_many_items_is_from_lists_all_over_the_data(make_config, images):
    images.add(*(f"{number}.png" for number in range(300)))
    config = make_config({"captions": {"chunks": 128}})
    layout = Layout(config.output_dir, config.model_name)
    plan = plan_task(config, layout, "captions")
    lists = plan.item_lists(layout, "captions")
    names = {item["id"] for item in sampled_items(plan, layout, "captions", 60)}
    from_lists = [sum(item["id"] in names for item in read_json_lines(path)) for path in lists]
    assert 0 < max(from_lists) <= 2
    assert sum(count > 0 for count in from_lists[:64]) == pytest.approx(sum(count > 0 for count in from_lists[64:]), 5)
    assert len(list(sampled_items(plan, layout, "captions", 300))) == 300


def test_questions_on_two_images_count_both(images, estimate, make_config):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64)).save(images.path / name)
    file = images.path.parent / "questions.parquet"
    rows = [("q1", "What?" * 8, "yes", ["a.png", "b.png"]), ("q2", "What?" * 8, "yes", ["a.png"])]
    pd.DataFrame(rows, columns=["qid", "question", "answer", "image"]).to_parquet(file)
    lines = estimate({"captions": None, "qa": {"instruction": "y" * 39}})
    assert lines[0] == "qa: 2 requests to send"
    assert lines[2] == "  tokens of a request: 6 of images, about 35 of text, at most 128 of the answer"
    assert not any("max_pixels" in line for line in lines)


def test_images_of_one_question_share_what_fits(photographs, estimate):
    rows = [("q1", "What?", "yes", ["c.png", "c.png"])]
    file = photographs.path.parent / "questions.parquet"
    pd.DataFrame(rows, columns=["qid", "question", "answer", "image"]).to_parquet(file)
    lines = estimate({"captions": None})
    # (8192 - 128 - 512) / 2 = 3776 tokens for each, which 86 x 43 squares fill
    assert lines[2].startswith(f"  tokens of a request: {2 * 86 * 43:,} of images")


def test_answers_so_far_are_counted_and_not_asked_again(images, jobs, estimate, server):
    images.add(*(f"{number}.png" for number in range(12)))
    first, *_ = found = jobs("captions", 4)
    ChunkRun(first).run()
    done = sum(1 for _ in first.items.open())
    lines = estimate({"qa": None, "captions": {"chunks": 4}})
    assert len(found) == 4
    assert 0 < done < 12
    assert lines[0] == f"captions SIMPLE: {12 - done} requests to send"
    assert f"(mean of {done} answers)" in lines[2]
    other = estimate({"qa": None, "captions": {"chunks": 4, "prompts": {"SIMPLE": "Another."}}})
    assert other[0] == "captions SIMPLE: 12 requests to send"
    assert "of images, about" in other[2]
    for job in found[1:]:
        ChunkRun(job).run()
    assert estimate({"qa": None, "captions": {"chunks": 4}})[-1] == "nothing is left to send"


def test_the_last_run_tells_the_rate_and_without_one_the_models_size_a_range(photographs, estimate, make_config):
    changes = {"qa": None, "models": {"tiny": {"path": "org/tiny-4B"}}}
    lines = estimate(changes)
    assert lines[7] == "time on one GPU, by arithmetic for 4 billion parameters:"
    assert lines[8] == "  L40S: less than a minute"
    longer = estimate(changes | {"models": {"tiny": {"path": "org/tiny-400B"}}})
    assert longer[8].startswith("  L40S: 45 s to 6 min ")
    config = make_config(changes)
    layout = Layout(config.output_dir, "tiny")
    verdict = {"clients": {"asked": 120}, "asking": {"seconds": 70.0, "without_server_s": 10.0}}
    write_json(layout.verdict, verdict)
    assert estimate(changes)[7:] == ["time: 2 s at the 2.0 requests/s of the last run in this folder"]
    write_json(layout.verdict, verdict | {"clients": {"asked": 99}})
    assert "arithmetic" in estimate(changes)[7]
    # items that failed at once, for want of their images, took no server's time
    write_json(layout.verdict, verdict | {"clients": {"asked": 5000, "answered": 120}})
    assert "at the 2.0 requests/s" in estimate(changes)[7]


def test_rates_of_the_users_own_runs_come_before_arithmetic(photographs, estimate, tmp_path, monkeypatch):
    file = tmp_path / "rates.json"
    monkeypatch.setenv(VARIABLE, str(file))
    changes = {"qa": None, "models": {"tiny": {"path": "org/tiny-4B", "server": {"replicas": 2}}}}
    assert "arithmetic" in estimate(changes)[7]
    kept = [
        MeasuredRate("org/tiny-4B", "1 x NVIDIA L40S", "0.32.0", 5.0, 12_000, "2026-11-28"),
        MeasuredRate("org/other", "CPU, 2 cores", "0.32.0", 1.0, 100, "2026-11-28"),
    ]
    write_json(file, {"rates": [asdict(rate) for rate in kept]})
    # 8,108 tokens at 5 a second on each of two servers
    assert estimate(changes)[7:9] == [
        "time, by rates that your own runs measured with this model:",
        "  1 x NVIDIA L40S: 13 min 31 s at 5 tokens/s for each server (12,000 requests on 2026-11-28, vLLM 0.32.0)",
    ]
    assert str(file) in estimate(changes)[9]


def test_a_run_of_ten_minutes_tells_its_own_rate(photographs, estimate, make_config):
    config = make_config({"qa": None})
    layout = Layout(config.output_dir, "tiny")
    keeper = LeaseKeeper(layout.server)
    keeper.start()
    write_json(layout.server_files.run, {"server_needed": True, "slurm": None, "to_do": {"captions": 5000}})
    counts = {"total": 5000, "done": 1425, "failed": 120, "reused": 100, "shared": 5}
    write_json(layout.progress / "captions_SIMPLE_chunk_0-of-1.json", counts)
    for ago, text in ((590, "unknown"), (601, "at the 2.0 requests/s of the run that works on this folder now")):
        write_json(layout.job_times / "captions_SIMPLE_chunk_0-of-1.json", [[time.time() - ago, None]])
        assert text in estimate({"qa": None})[7]
    keeper.release()


def test_a_range_is_said_to_be_unknown_where_the_models_size_is(photographs, estimate):
    (line,) = [line for line in estimate({"qa": None}) if line.startswith("time")]
    assert "unknown" in line
    assert "captions.limit" in line


def test_an_image_that_is_none_counts_no_tokens_and_stops_nothing(photographs, estimate):
    (photographs.path / "bad.png").write_bytes(b"not an image")
    lines = estimate({"qa": None})
    assert lines[0] == "captions SIMPLE: 4 requests to send"
    assert "(of 3 looked at)" in lines[1]
    assert lines[2] == (
        "  1 of 4 images that were looked for are at addresses, missing or damaged: they count no tokens here"
    )


def test_images_at_addresses_are_said_to_count_no_tokens(images, estimate):
    rows = [("q1", "What?", "yes", "http://images.org/a.png"), ("q2", "What?", "yes", "http://images.org/b.png")]
    file = images.path.parent / "questions.parquet"
    pd.DataFrame(rows, columns=["qid", "question", "answer", "image"]).to_parquet(file)
    lines = estimate({"captions": None, "qa": {"allow_urls": True}})
    assert lines[1].startswith("  2 of 2 images that were looked for are at addresses")


@pytest.mark.parametrize(
    ("path", "billions"),
    [
        ("Qwen/Qwen3-VL-4B-Instruct", 4),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", 3),
        ("org/0.5b-vl", 0.5),
        ("/data/4B/llava-v1.6", None),
        ("org/8Bit", None),
    ],
)
def test_a_models_size_is_read_from_its_name(path, billions):
    parameters = active_parameters(path)
    assert parameters == (None if billions is None else billions * 1e9)


def test_a_models_size_is_read_from_its_weights(tmp_path):
    for name in ("model-1.safetensors", "model-2.safetensors"):
        (tmp_path / name).write_bytes(b"\0" * 500)
    assert active_parameters(str(tmp_path)) == 500


def test_gpu_time_is_two_operations_per_parameter_and_token():
    # 1,000 prompt and 100 answer tokens of 4 billion parameters; 900 image tokens of four patches each
    operations = 2 * 4e9 * 1100 + 2 * 0.4e9 * 4 * 900
    least, most = gpu_seconds(Tokens(900, 1000, 100), 4e9, 100e12)
    assert (least, most) == pytest.approx((operations / 40e12, operations / 5e12))


def test_the_command_plans_and_prints_it(photographs, raw_config, tmp_path, capsys):
    path = tmp_path / "my.yaml"
    raw = raw_config()
    del raw["qa"]
    path.write_text(yaml.safe_dump(raw))
    assert main(["estimate", str(path)]) == 0
    assert "captions SIMPLE: 3 requests to send" in capsys.readouterr().out
