"""Exports of a whole run: all formats are written, once, and none asks the server."""

import json

import pandas as pd
import pytest
from projects import AS_ANYBODY, MODEL, STYLES
from shard_files import write_parquet

pytestmark = pytest.mark.slow

CAPTION_FORMATS = ["jsonl", "parquet", "imagefolder", "webdataset", "llava", "coco", "txt"]
QA_FORMATS = ["jsonl", "parquet", "lmms_eval", "vlmevalkit", "responses"]


def folders(project):
    """The folder of each export."""
    named = [("captions", f"{MODEL}_{style}_{form}") for style in STYLES for form in CAPTION_FORMATS]
    named += [("qa", f"{MODEL}_qa_{form}") for form in QA_FORMATS]
    return [project.out / "export" / task / MODEL / name for task, name in named]


def test_all_formats_are_written_once_and_none_asks_the_server(completed):
    completed.forget_requests()
    completed.config["export"] = {"captions": CAPTION_FORMATS[:-1], "qa": QA_FORMATS}
    completed.run()
    assert completed.ran() == {"export_captions": 12, "export_answers": 5, "check_failures": 1, "default": 1}
    completed.config["export"]["captions"] = CAPTION_FORMATS
    for file in (completed.out / f"export/qa/{MODEL}/{MODEL}_qa_jsonl").glob("*.jsonl"):
        file.unlink()
    completed.run()
    assert completed.ran() == {"export_captions": 2, "export_answers": 1, "check_failures": 1, "default": 1}
    assert completed.requests() == []
    for folder in folders(completed):
        assert list(folder.glob("[!.]*")), folder
        summary = json.loads((folder / ".export").read_text())
        assert summary["items"] == (6 if folder.parent.parent.name == "qa" else 10), folder
    assert "captionqa: nothing to do: " in completed.run()

    lines = pd.read_json(
        completed.out / f"export/captions/{MODEL}/{MODEL}_short_jsonl/captions-00000.jsonl", lines=True
    )
    assert dict(zip(lines["id"], lines["caption"], strict=True)) == completed.captions("short")

    # another image: a server starts, so all is merged again; only the captions have changed
    images = completed.folder / "images"
    (images / "b" / "more.png").write_bytes((images / "b" / "0.png").read_bytes())
    before = {folder: folder.stat().st_ino for folder in folders(completed)}
    completed.run()
    kept = {folder for folder, inode in before.items() if folder.stat().st_ino == inode}
    assert kept == {folder for folder in before if folder.parent.parent.name == "qa"}
    files = completed.out / f"export/captions/{MODEL}/{MODEL}_simple_txt"
    assert (files / "b" / "more.txt").read_text() == completed.captions()["b/more.png"]
    assert "captionqa: nothing to do: " in completed.run()

    # an export that is gone from a folder of somebody else
    lost = completed.out / f"export/qa/{MODEL}/{MODEL}_qa_jsonl"
    for file in lost.glob("*.jsonl"):
        file.unlink()
    lost.chmod(0o555)
    completed.prefix = AS_ANYBODY
    text = completed.run("-n", check=False)
    assert f"captionqa: {lost.relative_to(completed.folder)}/.made_from: Permission denied; is output_dir a" in text
    assert "Error in file" not in text


def test_images_without_files_are_refused_before_the_run_in_a_format_that_names_files(project):
    pictures = {path.name: path.read_bytes() for path in (project.folder / "images").rglob("*.png")}
    write_parquet(project.folder / "ds" / "0.parquet", pictures)
    del project.config["qa"]
    project.config["captions"]["dataset_path"] = "ds"
    project.config["export"] = {"captions": ["jsonl", "imagefolder"]}
    for arguments in (["-n"], []):
        assert "export.captions: imagefolder names image files, and" in project.run(*arguments, check=False)
    assert project.requests() == []


def test_exports_are_written_before_a_run_with_too_many_failures_ends(project):
    (project.folder / "images" / "a" / "1.png").unlink()
    del project.config["captions"]
    project.config["client"] |= {"max_failed_fraction": 0, "count_data_faults": True}
    project.config["export"] = {"qa": QA_FORMATS}
    assert "Done, but 2 of 6 questions failed" in project.run(check=False)
    for form in QA_FORMATS:
        folder = project.out / "export" / "qa" / MODEL / f"{MODEL}_qa_{form}"
        summary = json.loads((folder / ".export").read_text())
        assert (summary["items"], summary["failed"]) == (4, 2)
