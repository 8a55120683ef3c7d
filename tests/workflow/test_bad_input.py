"""Bad input gets one clear sentence before any server starts, wherever it is found; tests/unit has the sentences."""

import pandas as pd
import pytest
from projects import AS_ANYBODY, MODEL

pytestmark = pytest.mark.slow


def rename_column(project):
    path = project.folder / "questions.parquet"
    pd.read_parquet(path).rename(columns={"answer": "ground_truth"}).to_parquet(path)


def empty_the_folder(project):
    for path in (project.folder / "images").rglob("*.png"):
        path.unlink()


def put_a_file_in_the_way(project):
    (project.out / "work").mkdir(parents=True)
    (project.out / "work" / MODEL).write_text("")


def close_questions(project):
    (project.folder / "questions.parquet").chmod(0)
    project.prefix = AS_ANYBODY


def close_output_folder(project):
    project.out.mkdir(mode=0o555)
    project.prefix = AS_ANYBODY


def set_key(*keys, value):
    def change(project):
        place = project.config
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


CASES = {
    "unknown key": (
        set_key("captions", "promt_styles", value=["SIMPLE"]),
        "captionqa: captions: unknown key 'promt_styles' (did you mean 'prompt_styles'?)",
    ),
    "empty folder": (empty_the_folder, "captionqa: captions.dataset_path: images holds no image (skipped: 1 txt)"),
    "missing questions": (
        set_key("qa", "question_path", value="nowhere.parquet"),
        "captionqa: qa.question_path: there is no file nowhere.parquet",
    ),
    "missing column": (rename_column, "captionqa: questions.parquet has no column answer, and ground_truth may hold"),
    "no output folder": (
        set_key("output_dir", value="questions.parquet/out"),
        "captionqa: questions.parquet/out: Not a directory; is output_dir a folder that you can write to?",
    ),
    "no work folder": (
        put_a_file_in_the_way,
        f"/out/work/{MODEL}: File exists; is output_dir a folder that you can write to?",
    ),
    "closed questions": (
        close_questions,
        "captionqa: questions.parquet: Permission denied; is that something that you can read?",
    ),
    "closed output folder": (
        close_output_folder,
        "/out, whose mode forbids it; set another output_dir.",
    ),
    "missing model": (
        set_key("models", MODEL, "path", value="./no-model"),
        "captionqa: models.stand-in.path: there is no folder ./no-model",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), CASES.values(), ids=CASES.keys())
def test_bad_input_is_one_sentence_and_starts_nothing(project, change, sentence):
    change(project)
    text = project.run(check=False)
    assert sentence in next(line for line in text.splitlines() if line.startswith("captionqa:"))
    assert "Traceback" not in text
    assert not (project.out / "work" / MODEL / "server" / "request.json").exists()
