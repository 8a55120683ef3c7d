"""Which version of its model a run is planned with: one that the output folder has answers of, or another."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from captionqa.client.chunk_result import read_chunk
from captionqa.client.journal import read_lines
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.model_config import ModelConfig, ServerConfig, base_url
from captionqa.config.model_versions import (
    ModelVersion,
    VersionRecord,
    completed,
    differences,
    new_key,
    read_record,
)
from captionqa.config.server_files import read_own_json
from captionqa.config.server_options import deciding_options, server_options
from captionqa.errors import ResultError
from captionqa.files import write_json
from captionqa.server import endpoint
from captionqa.server.endpoint import Versions
from captionqa.server.model_revision import existing_version, started_version
from captionqa.server.start_request import StartRequest


@dataclass(frozen=True)
class PlannedModel:
    """The version of the model that a run is planned with, and what the user should know of it."""

    #: With the version's key, which is part of the settings of each answer.
    config: Config
    #: For the next run and for this one's jobs.
    record: VersionRecord
    #: Why answers that were there are asked for again; None where the model is as it was in the last run.
    message: str | None

    @property
    def version(self) -> ModelVersion:
        return self.record["versions"][self.record["planned"]]

    def save(self, layout: Layout) -> None:
        """Write the record, unless it is as it was; only the driver that has the lease may do this."""
        if read_record(layout.model_versions) != self.record:
            write_json(layout.model_versions, self.record)


def plan_model(config: Config, layout: Layout) -> PlannedModel:
    """Find the version of the configured model among those that the output folder has answers of, or add it."""
    model = config.models[layout.model]
    now = _version_now(model, layout)
    stored = read_record(layout.model_versions)
    message = None
    if stored is None:
        earlier = _version_of_earlier_answers(layout, now)
        if earlier is not None and not differences(earlier, now):
            message = (
                f"the answers in {layout.work} are of a version of captionqa that did not keep what decides them; they "
                "count as answers of the model as it is now."
            )
        stored = {"versions": [now if earlier is None else completed(earlier, now)], "planned": 0}
        if earlier is not None and differences(earlier, now):
            stored = {"versions": [earlier], "planned": 0}
    versions, last = list(stored["versions"]), stored["versions"][stored["planned"]]
    planned = _find(now, stored)
    if planned is None:
        planned = len(versions)
        is_first = all(version["source"] != now["source"] for version in versions)
        versions.append(now if is_first else {**now, "key": new_key(now)})
    else:
        versions[planned] = completed(versions[planned], now)
    if planned != stored["planned"] and last["source"] == now["source"]:
        message = (
            f"the model {layout.model} is not as it was in the last run: {'; '.join(differences(last, now))}. What it "
            "has not answered as it is now is asked for; the other answers stay in the journal, and count again when "
            "the model is as it was."
        )
    key = versions[planned].get("key")
    planned_config = replace(config, models={**config.models, layout.model: replace(model, version_key=key)})
    return PlannedModel(planned_config, {"versions": versions, "planned": planned}, message)


def _find(now: ModelVersion, record: VersionRecord) -> int | None:
    """Which version of the record the present one may be: rather the last run's, else the latest; None for no one."""
    numbers = [record["planned"], *reversed(range(len(record["versions"])))]
    return next((number for number in numbers if not differences(record["versions"][number], now)), None)


def _version_now(model: ModelConfig, layout: Layout) -> ModelVersion:
    """What is known of the model without asking a server; of a hub's model and an existing server what the last told.

    A server's word on a hub's commit goes before that of a cache on this machine, which may be older.
    """
    ended = next((entry for entry in endpoint.read_all(layout.server) if entry.versions), None)
    if model.url:
        is_same = ended is not None and ended.url == base_url(model.url) and ended.model == model.served_name
        return existing_version(model, _known(ended.versions.get("model_root")) if ended and is_same else None)
    now = started_version(model.path, model.server)
    request: StartRequest | None = read_own_json(layout.server_files.request)
    if ended is not None and request is not None and ended.request_id == request["request_id"]:
        asked = server_options(ServerConfig(**request["server"]))
        if request["model_path"] == model.path and asked == now["options"] and not Path(model.path).is_dir():
            now["revision"] = _known(ended.versions.get("model_revision")) or now["revision"]
    return now


def _version_of_earlier_answers(layout: Layout, now: ModelVersion) -> ModelVersion | None:
    """What the newest answers say of the model that gave them, for answers older than the record; None without any.

    What they do not say is left open.
    """
    for versions, argv, path in _servers_of_earlier_answers(layout):
        if path is None or path == now["source"]:
            return {
                "source": now["source"],
                "options": deciding_options(argv) if argv else None,
                "files": {},
                "revision": _known(versions.get("model_revision")),
                "root": _known(versions.get("model_root")),
            }
    return None


def _servers_of_earlier_answers(layout: Layout) -> Iterator[tuple[Versions, list[str], str | None]]:
    """(versions, command line, path of the model) of servers, newest first; a journal has no command line and path."""
    work = Path(layout.work)
    for result in _newest_first(work, "captions/*/chunks/*.jsonl", "qa/chunks/*.jsonl"):
        with suppress(ResultError):
            header, _ = read_chunk(result)
            for server in reversed(header["servers"]):
                yield server.get("versions", {}), server.get("argv", []), header["settings"]["model_path"]
    for segment in _newest_first(work, "captions/*/journal/*.jsonl", "qa/journal/*.jsonl"):
        for line in reversed(list(read_lines(segment))):
            if "answer" in line:
                yield line["answer"]["server"], [], None


def _newest_first(folder: Path, *patterns: str) -> list[Path]:
    files = [file for pattern in patterns for file in folder.glob(pattern)]
    return sorted(files, key=lambda file: file.stat().st_mtime, reverse=True)


def _known(version: str | None) -> str | None:
    return None if version == "unknown" else version
