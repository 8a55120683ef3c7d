"""A small project folder with images, questions and a stand-in server."""

import shutil

import pandas as pd
import pytest
from filelock import FileLock
from projects import MODEL, Project, draw_image, stand_in_server


@pytest.fixture
def project(tmp_path):
    """A project that has not been run yet."""
    project = Project(tmp_path / "project")
    for number in range(10):
        draw_image(project.folder / "images" / ("a" if number % 2 else "b") / f"{number}.png", number)
    (project.folder / "images" / "notes.txt").write_text("not an image")
    pd.DataFrame(
        {
            "qid": [f"q{number}" for number in range(6)],
            "question": ["What is it?\nA. this\nB. that"] * 6,
            "answer": ["\\boxed{A}", "\\boxed{B}"] * 3,
            "image": [
                ["a/1.png"],
                ["a/3.png"],
                ["a/5.png", "b/4.png"],
                ["b/0.png"],
                ["b/2.png", "a/1.png"],
                ["a/7.png"],
            ],
        }
    ).to_parquet(project.folder / "questions.parquet")
    project.config = {
        "output_dir": "out",
        "models": {
            MODEL: {
                "path": ".",
                "served_model_name": MODEL,
                "server": stand_in_server(project.folder),
            }
        },
        "captions": {"dataset_path": "images", "prompt_styles": ["SIMPLE", "SHORT"], "chunks": 2},
        "qa": {"question_path": "questions.parquet", "dataset_path": "images", "chunks": 2},
        "client": {"concurrency": 4, "backoff_s": 0.1, "max_attempts": 3},
    }
    yield project
    project.kill()


@pytest.fixture
def small(project):
    """The project with captions of one style in one chunk alone, where the number of jobs does not matter."""
    project.config["captions"] |= {"prompt_styles": ["SIMPLE"], "chunks": 1}
    del project.config["qa"]
    return project


@pytest.fixture(scope="session")
def _completed_once(tmp_path_factory, worker_id):
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "completed"


@pytest.fixture
def completed(project, _completed_once):
    """A project whose run is complete; it ran once for all processes of the suite and is copied, times and all."""
    with FileLock(f"{_completed_once}.lock"):
        if not _completed_once.exists():
            project.run()
            shutil.copytree(project.folder, made := _completed_once.with_name("completing"))
            made.rename(_completed_once)
            return project
    shutil.rmtree(project.folder)
    shutil.copytree(_completed_once, project.folder)
    return project
