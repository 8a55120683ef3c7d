"""Exports: the results of a finished task in one of the formats of `export`, each in a folder of its own."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from captionqa.client.chunk_result import ChunkResults
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings
from captionqa.dataset.image_source import ImageSources
from captionqa.dataset.plan import load_plan, planned_tasks
from captionqa.errors import ConfigError, ResultError
from captionqa.export.answer_stream import graded_answers
from captionqa.export.answer_tables import write_answer_lines, write_answer_parquet
from captionqa.export.caption_stream import Caption, CaptionStream
from captionqa.export.caption_tables import write_caption_lines, write_caption_parquet, write_imagefolder
from captionqa.export.coco import write_coco
from captionqa.export.llava import write_llava
from captionqa.export.lmms_eval import write_lmms_eval
from captionqa.export.named_files import NAMING_FORMATS, file_path
from captionqa.export.responses import answered_lines, write_responses
from captionqa.export.target import MB, ExportFolder, Target
from captionqa.export.text_files import write_text_files
from captionqa.export.vlmevalkit import write_vlmevalkit
from captionqa.export.webdataset import write_webdataset
from captionqa.files import read_json, read_json_lines

log = logging.getLogger(__name__)
T = TypeVar("T")

CAPTION_FORMATS: dict[str, Callable[[Iterable[Caption], Target], None]] = {
    "jsonl": write_caption_lines,
    "parquet": write_caption_parquet,
    "imagefolder": write_imagefolder,
    "webdataset": write_webdataset,
    "llava": write_llava,
    "coco": write_coco,
    "txt": write_text_files,
}
ANSWER_FORMATS = ("jsonl", "parquet", "lmms_eval", "vlmevalkit", "responses")


class ExportSummary(TypedDict, total=False):
    """What an export holds."""

    format: str
    items: int
    #: Captions only: those that ended at max_tokens, with `export.truncated: leave_out`.
    left_out_truncated: int
    #: Items without a result, which no export has.
    failed: int
    files: int
    bytes: int


class Counted:
    """Counts what passes."""

    def __init__(self) -> None:
        self.items = 0

    def __call__(self, values: Iterable[T]) -> Iterator[T]:
        for value in values:
            self.items += 1
            yield value


def check_exports(config: Config, layout: Layout) -> None:
    """Check before a run that the images can be named in the formats that name files, by the first of them.

    Raises:
        ConfigError: they cannot, in one sentence.
    """
    for each, of_data in config.by_data_set(layout):
        _check_export(each, of_data)


def _check_export(config: Config, layout: Layout) -> None:
    if "captions" not in planned_tasks(config, layout):
        return
    lists = load_plan(layout, "captions").item_lists(layout, "captions")
    entry = next(read_json_lines(lists[0]), None) if lists else None
    if entry is None or "images" not in entry:
        return
    for form in config.export.captions:
        if form in NAMING_FORMATS:
            try:
                file_path(entry["id"], entry["images"], form)
            except ResultError as error:
                of = f"{config.data_set}: " if config.data_set else ""
                raise ConfigError(f"{of}{error}") from error


def export_captions(
    form: str,
    chunks: Sequence[str],
    item_lists: Sequence[str],
    settings: AnswerSettings,
    style: str,
    sources: ImageSources,
    scratch: Path,
    leave_out_truncated: bool,
    shard_mb: int,
    export: ExportFolder,
) -> None:
    """Write the captions of a prompt style in one format, unless they are there.

    Raises:
        ResultError: a chunk result is incomplete, or a caption does not fit the format.
        DiskFullError: the disk is full.
    """
    if _is_known(export):
        return
    stream = CaptionStream(chunks, item_lists, settings, style, scratch, leave_out_truncated)
    schema = settings.get("schema", "")
    with export.writing() as folder:
        CAPTION_FORMATS[form](stream.captions(), Target(folder, shard_mb * MB, scratch, sources, schema))
        files, size = _measured(folder)
    summary: ExportSummary = {
        "format": form,
        "items": stream.exported,
        "left_out_truncated": stream.left_out,
        "failed": stream.failed,
        "files": files,
        "bytes": size,
    }
    _finish(export, summary)


def export_answers(
    form: str,
    results: str,
    metrics: str,
    provenance: str,
    chunks: Sequence[str],
    settings: AnswerSettings,
    scratch: Path,
    shard_mb: int,
    export: ExportFolder,
) -> None:
    """Write the graded answers, or the raw responses, in one format, unless they are there.

    Raises:
        ResultError: results are incomplete or missing.
        DiskFullError: the disk is full.
    """
    if _is_known(export):
        return
    counted, asked = Counted(), Counted()
    described = _read(provenance)
    with export.writing() as folder:
        target = Target(folder, shard_mb * MB, scratch)
        if form == "responses":
            write_responses(counted(answered_lines(asked(ChunkResults(chunks, settings).lines()))), target)
        else:
            answers = counted(graded_answers(results, chunks, settings))
            if form == "lmms_eval":
                write_lmms_eval(answers, target, _read(metrics), described)
            elif form == "vlmevalkit":
                write_vlmevalkit(answers, target)
            elif form == "parquet":
                write_answer_parquet(answers, target)
            else:
                write_answer_lines(answers, target)
        files, size = _measured(folder)
    summary: ExportSummary = {
        "format": form,
        "items": counted.items,
        "failed": max(described["counts"]["items"], asked.items) - counted.items,
        "files": files,
        "bytes": size,
    }
    _finish(export, summary)


def _is_known(export: ExportFolder) -> bool:
    """Whether the export is there already, made from the same results, which is confirmed then."""
    if (summary := export.known_summary()) is None:
        return False
    export.confirm(summary)
    log.info("the results are the same as before: nothing is written again")
    return True


def _read(path: str) -> Any:
    value = read_json(path)
    if value is None:
        raise ResultError(f"{path} is missing or damaged; delete it and run again.")
    return value


def _measured(folder: Path) -> tuple[int, int]:
    """How many files are below a folder, and their bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def _finish(export: ExportFolder, summary: ExportSummary) -> None:
    export.finish(summary)
    log.info("%s", ", ".join(f"{name}: {value}" for name, value in summary.items()))
