"""Merging captions: the chunk results of one prompt style become its captions JSON and the companions."""

from collections.abc import Mapping, Sequence

from captionqa.client.chunk_result import ChunkResults, ResultLine
from captionqa.client.final_text import caption_text
from captionqa.client.text_figures import text_figures
from captionqa.config.settings import AnswerSettings
from captionqa.errors import ItemFailure, Reason
from captionqa.files import json_object_writer, write_json
from captionqa.results.caption_figures import CaptionFigures
from captionqa.results.made_from import made_from
from captionqa.results.provenance import ItemCounts, provenance


def merge_captions(
    chunks: Sequence[str],
    settings: AnswerSettings,
    dataset_path: str,
    captions_path: str,
    failures_path: str,
    provenance_path: str,
    statistics_path: str,
    hub_commits: Mapping[str, str] | None = None,
) -> None:
    """Write {image: caption}, sorted by image, with the failures, the provenance and the statistics.

    Raises:
        ResultError: a chunk result is incomplete or was made under other settings, or answers are of two models.
    """
    results, counts, figures = ChunkResults(chunks, settings), ItemCounts(), CaptionFigures()
    with json_object_writer(captions_path) as add_caption, json_object_writer(failures_path) as add_failure:
        for line in results.lines():
            try:
                text = _caption(line)
            except ItemFailure as failure:
                counts.add_failure(line["id"], failure.reason)
                add_failure(line["id"], {"reason": failure.reason, "detail": failure.detail})
            else:
                counts.add_answer(line["id"], line["answer"], line["files"], shared="same_as" in line)
                of_text = line.get("figures") or text_figures(text)
                figures.add(text, of_text, line["answer"], shared="same_as" in line)
                add_caption(line["id"], text)
        counts.check_one_model(chunks)
    write_json(statistics_path, figures.statistics())
    described = provenance(results.headers, counts, settings, dataset_path, hub_commits)
    write_json(provenance_path, {**described, "made_from": made_from(chunks)})


def _caption(line: ResultLine) -> str:
    """The caption of a line; raises ItemFailure where it has none."""
    if "failure" in line:
        raise ItemFailure(Reason(line["failure"]), line["detail"])
    return caption_text(line["answer"])
