"""Snakemake's report of a run, as a browser shows it."""

import base64
import subprocess
import zipfile

import pandas as pd
import pytest
from browser import find_browser

pytestmark = pytest.mark.slow

#: A script that shows in the page once it has run.
RUN_MARK = 'data-has-run="yes"'
SCRIPT = "<script>document.documentElement.dataset.hasRun = 'yes'</script>"


@pytest.fixture
def show(tmp_path):
    """A page as a browser has it once its scripts have run."""

    browser = find_browser()

    def dumped(page):
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options = [f"--user-data-dir={tmp_path / 'browser'}", "--virtual-time-budget=20000", "--dump-dom"]
        done = subprocess.run(
            [*command, *options, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout

    return dumped


def test_the_report_has_the_results_with_their_images_and_tables_and_names_no_folder(completed, show, tmp_path):
    completed.config["captions"]["dataset_path"] = completed.config["qa"]["dataset_path"] = str(
        completed.folder / "images"
    )
    completed.run()
    report = tmp_path / "report.zip"
    completed.run("--report", str(report))
    with zipfile.ZipFile(report) as packed:
        packed.extractall(tmp_path / "report")
    shown = show(next((tmp_path / "report").rglob("report.html")))
    assert ">Results<" in shown
    results = show(next((tmp_path / "report").rglob("results.html")))
    assert "data:image/jpeg;base64," in results
    assert "Question q0, " in results
    tables = next((tmp_path / "report").rglob("tables.html")).read_text()
    assert "Accuracy by category" in tables
    held = [path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()]
    assert str(completed.folder / "images").encode() not in b"".join(held)


def test_a_category_that_is_a_script_is_only_text_in_the_report(completed, show, tmp_path):
    path = completed.folder / "questions.parquet"
    pd.read_parquet(path).assign(category=SCRIPT, source=SCRIPT).to_parquet(path)
    completed.config["captions"]["prompts"] = {"SIMPLE": SCRIPT}
    completed.run()
    assert SCRIPT in completed.qa("metrics")["category_metrics"]
    report = tmp_path / "report.html"
    completed.run("--report", str(report))
    (tmp_path / "control.html").write_text(f"<body>{SCRIPT}</body>")
    assert RUN_MARK in show(tmp_path / "control.html")
    for page in (report, completed.out / "report" / "results.html", completed.out / "report" / "tables.html"):
        assert RUN_MARK not in show(page)
        assert SCRIPT not in page.read_text()
    tables = completed.out / "report" / "tables.html"
    assert base64.b64encode(tables.read_bytes()).decode() in report.read_text()
