"""Status: how far a run is, by the files in its output folder; no server is asked and nothing is planned anew."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path

from captionqa.client.chunk_result import read_chunk
from captionqa.client.journal import read_lines, segment_of
from captionqa.config.answer_files import journal_segment
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings, answer_fingerprint, fingerprint
from captionqa.dataset.final_files import asked_files
from captionqa.dataset.places import entry_place
from captionqa.dataset.plan import planned_tasks
from captionqa.driver.run_view import RunView, ServerView, read_view, server_views
from captionqa.files import read_json_lines
from captionqa.results.provenance import read_provenance
from captionqa.run.lease import LeaseRecord, live_lease

COLUMNS = ("chunks", "items", "answered", "in journal", "failed", "to do")
LEGEND = "  answered, failed: in finished chunks; in journal: answered, in chunks that are not finished yet"
#: Up to this many final files of several data sets have a row each; of more those of a model and task share one.
MAX_ROWS = 30
#: From this many rows on the last one has their sums.
SUMMED_FROM = 4


@dataclass(frozen=True)
class FileStatus:
    """How far the items of one final file are, under the present settings; each item is counted once."""

    #: `captions STYLE`, `qa`, or `judge qa of MODEL`; with several models after `MODEL: `, of a named data set after
    #: its name.
    name: str
    chunks: int
    finished_chunks: int
    #: Items of the last plan; of a judge one answer to each question of a chunk, until it is known which it gets.
    items: int
    #: Items of finished chunks that have an answer.
    answered: int
    #: Items of finished chunks that have none.
    failed: int
    #: Items of unfinished chunks whose answer the journal holds; a run reuses it unless the item changed since.
    journaled: int
    #: Whether the final file is there.
    merged: bool
    #: {reason: items} of the final file, which include answers that could not be graded; empty where there is no file.
    failures_by_reason: Mapping[str, int]
    #: The list of failures beside the final file.
    failures_path: str
    #: As `name`, for all files of its data set, model and task together.
    group: str = ""
    #: How many final files it stands for.
    files: int = 1

    @property
    def complete(self) -> bool:
        return self.merged and self.finished_chunks == self.chunks

    @property
    def to_do(self) -> int:
        """Items without an answer or a failure so far."""
        return self.items - self.answered - self.failed - self.journaled


@dataclass(frozen=True)
class RunStatus:
    """What the output folder of a run says."""

    output_dir: str
    #: One model, or several with commas.
    model: str
    #: One entry per final file of the tasks that were planned.
    files: list[FileStatus]
    #: Configured tasks without a plan; of a named data set after its name.
    unplanned: list[str]
    #: The lease of the driver that works on the folder now.
    lease: LeaseRecord | None
    #: What that driver shows at its own terminal; None where there is none.
    view: RunView | None
    #: The servers of the run, or of the last one.
    servers: list[ServerView]
    #: The data sets, where they have names.
    named: Sequence[str] = ()


def read_status(config: Config, layout: Layout) -> RunStatus:
    """Where the run of a configuration stands; the time it takes grows with the items of unfinished chunks alone."""
    layouts = layout.of_models(config.model_names)
    parts = [(each, of_data, planned_tasks(each, of_data)) for each, of_data in config.by_data_set(layout)]
    return RunStatus(
        output_dir=layout.output_dir,
        model=", ".join(config.model_names),
        files=[
            file
            for each, of_data, _ in parts
            for of_model in of_data.of_models(config.model_names)
            for file in _files(each, of_model)
        ],
        unplanned=[
            f"{each.data_set}: {task}" if each.data_set else task
            for each, _, planned in parts
            for task in each.tasks
            if task not in planned
        ],
        lease=(lease := live_lease(layout.server)),
        view=None if lease is None else read_view(layout),
        servers=server_views(layouts, len(layouts) > 1),
        named=[*config.named],
    )


def status_text(status: RunStatus, config_path: Path) -> str:
    """A status for a person at the terminal; `config_path` is the configuration that it is of."""
    lines = [f"output folder {status.output_dir}, {'models' if ', ' in status.model else 'model'} {status.model}"]
    many = bool(status.named) and len(status.files) > MAX_ROWS
    lines += _table(grouped(status.files) if many else status.files)
    if many:
        example = f"captionqa status {config_path} --data-set {status.named[0]}"
        lines.append(f"  a row is all files of a model and a task; each by itself: {example}")
    lines += [f"{task}: not planned yet" for task in status.unplanned if status.files]
    if status.lease is not None:
        lines.append(f"a run works on this folder now: process {status.lease['pid']} on {status.lease['host']}")
    elif not status.files:
        lines.append(f"nothing was planned yet; start with: captionqa run {config_path}")
    elif status.unplanned or not all(file.complete for file in status.files):
        lines.append(f"no run works on this folder now; go on with: captionqa run {config_path}")
    else:
        lines.append("no run works on this folder now")
    if status.view is not None:
        lines += [f"  {task.task}: {task.text()}" for task in status.view.tasks]
    return "\n".join([*lines, *(server.line() for server in status.servers)])


def grouped(files: Iterable[FileStatus]) -> list[FileStatus]:
    """One status for all files of a data set, model and task."""
    return [_together(group, list(members)) for group, members in groupby(files, key=lambda file: file.group)]


def _together(name: str, files: Sequence[FileStatus]) -> FileStatus:
    """The status of several final files: their sums."""
    counts = ("chunks", "finished_chunks", "items", "answered", "failed", "journaled", "files")
    sums = {count: sum(getattr(file, count) for file in files) for count in counts}
    reasons: Counter[str] = Counter()
    for file in files:
        reasons.update(file.failures_by_reason)
    paths = [file.failures_path for file in files if file.failures_by_reason]
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return replace(
        files[0],
        **sums,
        name=name,
        merged=all(file.merged for file in files),
        failures_by_reason=reasons,
        failures_path=f"{paths[0]}{more}" if paths else "",
    )


def _files(config: Config, layout: Layout) -> Iterable[FileStatus]:
    """The status of each final file that the layout's model has of the planned tasks, and as the judge."""
    for file in asked_files(config, layout):
        plan, lists, results = file.plan(layout), file.item_lists(layout), file.results(config, layout)
        finished = {path for path in results if Path(path).exists()}  # checked once: a run may be adding results
        headers = [read_chunk(path)[0] for path in finished]
        unfinished = [items for items, path in zip(lists, results, strict=True) if path not in finished]
        failed = sum(header["failed"] for header in headers)
        items = plan.items
        if file.judged is not None:
            items = sum(header["items"] for header in headers)
            items += plan.pending_items(
                [path if path in finished else "" for path in results], file.judged.most_items()
            )
            unfinished = [path for path in unfinished if Path(path).exists()]
        yield FileStatus(
            name=config.title(file.name, layout.model),
            chunks=len(results),
            finished_chunks=len(headers),
            items=items,
            answered=sum(header["items"] for header in headers) - failed,
            failed=failed,
            journaled=_journaled(unfinished, file.files.journal, answer_fingerprint(file.settings)),
            merged=Path(file.path).exists(),
            failures_by_reason=_failures_by_reason(file.provenance, file.settings),
            failures_path=file.failures,
            group=config.title(file.task, layout.model),
        )


def _journaled(item_lists: Iterable[str], journal: Path, fingerprint_now: str) -> int:
    """How many items of these lists, which are in the order of their places, have an answer in the journal."""
    count = 0
    items = chain.from_iterable(map(read_json_lines, item_lists))
    segments = groupby(items, key=lambda item: segment_of(entry_place(item)))
    for index, members in segments:
        path = journal_segment(journal, index)
        if path.exists():
            lines = (line for line in read_lines(path) if line["fingerprint"] == fingerprint_now and "answer" in line)
            count += len({line["id"] for line in lines} & {item["id"] for item in members})
    return count


def _failures_by_reason(provenance_path: str, settings: AnswerSettings) -> Mapping[str, int]:
    """{reason: items} of a final file; empty where it is missing or was made under other settings."""
    stored = read_provenance(provenance_path)
    if stored is None or fingerprint(stored["settings"]) != fingerprint(settings):
        return {}
    return stored["counts"]["failures_by_reason"]


def _table(files: Sequence[FileStatus]) -> list[str]:
    together = [_together("together", files)] if len(files) >= SUMMED_FROM else []
    rows = [
        (
            file.name if file.files == 1 or file in together else f"{file.name}, {file.files} files",
            f"{file.finished_chunks:,} of {file.chunks:,}",
            *(f"{count:,}" for count in (file.items, file.answered, file.journaled, file.failed, file.to_do)),
        )
        for file in (*files, *together)
    ]
    if not rows:
        return []
    rows = [("", *COLUMNS), *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        lines.append(f"  {name:<{widths[0]}}   {'   '.join(padded)}")
    for file in files:
        if file.failures_by_reason:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in file.failures_by_reason.items())
            lines.append(
                f"  {file.name}, failures in its final file{'s' * (file.files > 1)}: {reasons}  {file.failures_path}"
            )
    return [*lines, LEGEND]
