"""Snakemake's report of a run, as a browser shows it."""

import base64
import os
import shutil
import subprocess

import pandas as pd
import pytest
from projects import MODEL

pytestmark = pytest.mark.slow

#: A script that shows in the page once it has run.
RUN_MARK = 'data-has-run="yes"'
SCRIPT = "<script>document.documentElement.dataset.hasRun = 'yes'</script>"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        reason = f"no browser is there ({', '.join(BROWSERS)}); as root: apt-get install chromium"
        if "chromium" in os.environ.get("CAPTIONQA_DEMAND", ""):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture
def show(browser, tmp_path):
    """A page as a browser has it once its scripts have run."""

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
