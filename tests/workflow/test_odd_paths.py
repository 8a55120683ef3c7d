"""Paths in the configuration with characters that mean something to Snakemake."""

import pytest
from projects import MODEL

pytestmark = pytest.mark.slow


def test_data_with_braces_in_their_paths_are_found_and_a_second_run_has_nothing_to_do(project):
    (project.folder / "images").rename(project.folder / "images {model}")
    (project.folder / "questions.parquet").rename(project.folder / "{x}.parquet")
    project.config["captions"]["dataset_path"] = project.config["qa"]["dataset_path"] = "images {model}"
    project.config["qa"]["question_path"] = "{x}.parquet"
    project.run()
    assert len(project.captions()) == 10
    metrics = project.qa("metrics")
    assert (metrics["question_path"], metrics["dataset_path"]) == ("{x}.parquet", "images {model}")
    assert project.plan() == {}


def test_an_output_folder_with_braces_is_refused_in_one_sentence(project):
    project.config["output_dir"] = f"{{model}}/{MODEL}"
    text = project.run(check=False)
    assert "captionqa: output_dir: '{model}/stand-in' must not hold a brace, { or }; name a folder without." in text
    assert "Error" not in text
