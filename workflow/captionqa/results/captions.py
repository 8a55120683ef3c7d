"""Merging captions: the chunk results of one prompt style become its captions JSON and the companions."""

from collections.abc import Mapping, Sequence

from captionqa.client.chunk_result import ChunkResults
from captionqa.config.settings import AnswerSettings
from captionqa.files import json_object_writer, write_json
from captionqa.results.provenance import ItemCounts, provenance


def merge_captions(
    chunks: Sequence[str],
    settings: AnswerSettings,
    dataset_path: str,
    captions_path: str,
    failures_path: str,
    provenance_path: str,
    hub_commits: Mapping[str, str] | None = None,
) -> None:
    """Write {image: caption}, sorted by image, with the failures and the provenance.

    Raises:
        ResultError: a chunk result is incomplete or was made under other settings, or answers are of two models.
    """
    results, counts = ChunkResults(chunks, settings), ItemCounts()
    with json_object_writer(captions_path) as add_caption, json_object_writer(failures_path) as add_failure:
        for line in results.lines():
            if "answer" in line:
                counts.add_answer(line["id"], line["answer"], line["files"], shared="same_as" in line)
                add_caption(line["id"], line["answer"]["text"])
            else:
                counts.add_failure(line["id"], line["failure"])
                add_failure(line["id"], {"reason": line["failure"], "detail": line["detail"]})
        counts.check_one_model(chunks)
    write_json(provenance_path, provenance(results.headers, counts, settings, dataset_path, hub_commits))
