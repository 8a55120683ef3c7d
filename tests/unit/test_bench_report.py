"""The benchmark's table and JSON, and that it runs the workflow's own chunk script."""

import json
import subprocess
import sys

import pytest
from captionqa.files import read_json_lines
from PIL import Image

from bench import accuracy, clients, ours
from bench.clients import Target
from bench.data import QUESTIONS, make_images, make_questions
from bench.meter import measured, parse
from bench.report import Row, compared, server_use, table, write


@pytest.fixture
def rows():
    limit = Row("client", "load", limit="load")
    mine = Row("client", "captionqa", limit="load")
    slow, fast = (Row("client", name, limit="load", is_peer=True) for name in ("requests", "openai"))
    for row, rates in ((limit, (100, 90, 110)), (mine, (80, 99, 70)), (slow, (10, 9, 11)), (fast, (40, 50, 30))):
        for rate in rates:
            row.add(images=rate, wall_s=1.0, cpu_s=rate / 1000)
    return [limit, mine, slow, fast, Row("startup", "imports", figures={"ms": 12.3456})]


def test_medians_and_ratios(rows):
    limit, mine, slow, fast, imports = compared(rows)
    assert [row["median_images_per_s"] for row in (limit, mine, slow, fast)] == [100, 80, 10, 40]
    assert mine["median_cpu_ms"] == pytest.approx(1.0)
    assert [row["of_limit"] for row in (mine, fast)] == [0.8, 0.4]
    assert [row["of_best_peer"] for row in (limit, mine, slow, fast)] == [None, 2.0, None, None]
    assert mine["per_core_of_best_peer"] == pytest.approx(1.0)
    assert imports["median_images_per_s"] is None


def test_the_table_has_a_line_for_each_row(rows):
    heading, *lines = table(rows).splitlines()
    assert heading.split()[:2] == ["part", "what"]
    assert lines[1].split() == ["client", "captionqa", "80.0", "(70.0-99.0)", "1.00", "0.800", "2.000", "1.000"]
    assert lines[4].split() == ["startup", "imports", "ms", "12.35"]


def test_what_a_server_spent_is_told_by_item_and_its_caches_by_rate():
    spent = {"cpu_s": 2.0, "main_cpu_s": 0.5, "prompt_tokens": 3000.0, "generation_tokens": 160.0}
    caches = {"prefix_cache_hits": 0.0, "prefix_cache_queries": 0.0, "mm_cache_hits": 6.0, "mm_cache_queries": 8.0}
    found = server_use([spent | caches] * 3, items=10)
    assert found == {
        "server CPU ms each": 200,
        "of it HTTP and preprocessing": 50,
        "prompt tokens": 300,
        "answer tokens": 16,
        "image hits": 0.75,
    }


def test_the_json_says_where_and_how(rows, tmp_path):
    write(tmp_path / "new" / "bench.json", rows, command="bench --quick")
    found = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert found["command"] == "bench --quick"
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["captionqa's packages"]["snakemake"]
    assert found["rows"][1]["images_per_s"] == [80, 99, 70]


def test_figures_are_found_among_other_output(capsys):
    print("some client's own words")
    with measured() as figures:
        figures["images"] = 3
    print("and its last ones")
    found = parse(capsys.readouterr().out)
    assert found["images"] == 3
    assert found["wall_s"] > 0
    with pytest.raises(ValueError, match="no figures"):
        parse("nothing of that kind")


def test_images_are_all_different_and_of_the_wanted_size(tmp_path):
    mean_kb = make_images(tmp_path, count=4, side_px=256, size_kb=20)
    files = sorted(tmp_path.iterdir())
    assert len({path.read_bytes() for path in files}) == 4
    assert mean_kb == pytest.approx(20, rel=0.25)
    with Image.open(files[0]) as image:
        assert (image.format, image.size) == ("JPEG", (256, 192))


def test_questions_are_grouped_by_image_or_scattered(tmp_path):
    make_images(tmp_path / "pictures", count=12, side_px=64, size_kb=2)
    grouped, scattered = make_questions(tmp_path / "pictures", tmp_path / "data")

    def pictures_in_order(file):
        """The pictures of captionqa's item list, with those next to each other taken as one."""
        folder = tmp_path / file.stem
        ours.save(folder, ours.configuration(folder, file.parent, "http://x", "x", 16, questions=file))
        layout, task, plan = ours.plan_of(ours.load(folder)[0])
        items = list(read_json_lines(plan.item_lists(layout, task)[0]))
        assert len(items) == 12 * len(QUESTIONS)
        names = [item["images"][0].partition("/")[2] for item in items]
        return [name for number, name in enumerate(names) if not number or names[number - 1] != name]

    assert len(pictures_in_order(grouped)) == 12
    assert len(pictures_in_order(scattered)) > 2 * 12


@pytest.mark.slow
def test_a_chunk_job_answers_questions(tmp_path, stand_in):
    make_images(tmp_path / "pictures", count=2, side_px=64, size_kb=2)
    file, _ = make_questions(tmp_path / "pictures", tmp_path / "data")
    folder = tmp_path / "job"
    target = Target(stand_in.url, "stand-in", file.parent, 2.0, 2 * len(QUESTIONS), 16)
    _, figures = clients.captionqa(target, folder, questions=file)
    assert figures["images"] == len(stand_in.asked) == 2 * len(QUESTIONS)


@pytest.mark.slow
def test_a_chunk_job_is_the_workflows_own(tmp_path, stand_in):
    images, folder = tmp_path / "pictures", tmp_path / "job"
    make_images(images, count=3, side_px=64, size_kb=2)
    (job,) = ours.prepare(folder, ours.configuration(folder, images, stand_in.url, "stand-in", 64))
    command = job.command(sys.executable)
    command[1:1] = ["-X", "importtime"]
    paths = f"{ours.ROOT}:{ours.ROOT / 'workflow'}"
    done = subprocess.run(command, env={"PYTHONPATH": paths}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "captionqa.config.config" in done.stderr
    assert "captionqa.config.check" not in done.stderr, "what only the driver imports is none of a job's start-up"
    assert parse(done.stdout)["images"] == len(stand_in.asked) == 3
    (result,) = folder.glob("output/work/bench/captions/simple/chunks/*.jsonl")
    assert next(read_json_lines(result))["items"] == 3


def test_accuracies_of_graded_questions_per_category_and_of_all():
    groups = {"yes": (3, 4, 0), "no": (1, 3, 1), "hidden": (0, 2, 2)}
    categories = {name: dict(zip(("correct", "total", "ungraded"), row, strict=True)) for name, row in groups.items()}
    metrics = {"correct_answers": 4, "total_questions": 9, "ungraded_questions": 3, "category_metrics": categories}
    rows = [line.split() for line in accuracy.table(metrics).splitlines()]
    assert rows == [
        ["yes", "75.0%", "3", "of", "4"],
        ["no", "50.0%", "1", "of", "2"],
        ["all", "66.7%", "4", "of", "6"],
    ]
