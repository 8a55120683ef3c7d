"""Snakemake's report of a run, as a browser shows it."""

import base64
import subprocess

import pandas as pd
import pytest
from browser import find_browser
from projects import MODEL

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


def test_the_report_has_metrics_and_provenance(completed, show, tmp_path):
    report = tmp_path / "report.html"
    completed.run("--report", str(report))
    shown = show(report)
    for category in ("Captions", "Questions"):
        assert f">{category}<" in shown


def test_a_category_that_is_a_script_is_only_text_in_the_report(completed, show, tmp_path):
    path = completed.folder / "questions.parquet"
    pd.read_parquet(path).assign(category=SCRIPT, source=SCRIPT).to_parquet(path)
    completed.config["captions"]["prompts"] = {"SIMPLE": SCRIPT}
    completed.run()
    assert SCRIPT in completed.qa("metrics")["category_metrics"]
    assert completed.captions("simple", "_provenance")["settings"]["prompt"] == SCRIPT
    report = tmp_path / "report.html"
    completed.run("--report", str(report))
    (tmp_path / "control.html").write_text(f"<body>{SCRIPT}</body>")
    assert RUN_MARK in show(tmp_path / "control.html")
    assert RUN_MARK not in show(report)
    written = report.read_text()
    metrics = completed.out / "qa" / MODEL / f"{MODEL}_qa_metrics.json"
    assert base64.b64encode(metrics.read_bytes()).decode() in written
    assert SCRIPT not in written
