"""The files of a finished run that are pushed, as they may be read by all: without private text.

Results and captions are pushed byte for byte where they hold nothing private, and else as copies.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from captionqa.config.config import Config
from captionqa.config.exports import export_folders
from captionqa.config.hub_record import is_hub_path
from captionqa.config.layout import Layout
from captionqa.errors import ResultError
from captionqa.files import full_disk_named, write_json
from captionqa.push.final_sets import OF_JUDGE, FinalSet
from captionqa.push.private_text import PrivateText, private_text
from captionqa.results.answer_sets import answer_sets

#: Formats of exports that are not pushed, and why.
LEFT_OUT_FORMATS = {"webdataset": "its tars hold the images", "txt": "it has a file for each image"}
#: Columns of tables that may hold paths.
PATH_COLUMNS = ("id", "image_paths")
#: Of a provenance file: which machines worked, and how their servers were started.
_OF_MACHINES = ("clients", "servers")
COMPARISON_ENDINGS = ("json", "csv", "md")


@dataclass(frozen=True)
class PublicFiles:
    """What is pushed."""

    #: {path in the repository: the file}; as in the output folder.
    files: Mapping[str, Path]
    #: {path in the repository: why it is not pushed}.
    left_out: Mapping[str, str]
    #: The final sets, with the files as they are pushed.
    sets: Sequence[FinalSet]


def public_files(config: Config, layout: Layout, sets: Sequence[FinalSet], scratch: Path) -> PublicFiles:
    """Choose the files; copies without what is private are written below `scratch`.

    Raises:
        ResultError: a file is damaged.
        DiskFullError: the disk is full.
    """
    servers = list(_servers(sets))
    roots = [root for server in servers if (root := server.get("model_root", "")).startswith("/")]
    private = private_text(config, [server["url"] for server in servers if server["url"]], roots)
    cleaner = _Cleaner(config.output_dir, private, scratch)
    public = [replace(each, files={kind: cleaner.add_final(each, kind) for kind in each.files}) for each in sets]
    if len(answer_sets(config, layout)) > 1:
        for ending in COMPARISON_ENDINGS:
            cleaner.add(Path(layout.comparison(ending)))
    left_out: dict[str, str] = {}
    for form, folder in _exports(config, layout):
        if form in LEFT_OUT_FORMATS:
            left_out[cleaner.name(folder)] = LEFT_OUT_FORMATS[form]
            continue
        for path in _visible(Path(folder)):
            if path.is_symlink():
                left_out[cleaner.name(path)] = "it is a link"
            elif path.suffix == ".parquet" and _names_private_paths(path, private):
                left_out[cleaner.name(path)] = "it names images by paths of this machine"
            else:
                cleaner.add(path)
    return PublicFiles(cleaner.files, left_out, public)


def _exports(config: Config, layout: Layout) -> Iterator[tuple[str, str]]:
    """(format, folder) of the exports that are there."""
    for each, of_data in config.by_data_set(layout):
        for of_model in of_data.of_models(config.model_names):
            for form, folder in export_folders(each, of_model):
                if Path(Layout.export_summary(folder)).is_file():
                    yield form, folder


class _Cleaner:
    """Collects files, and copies of those that hold something private."""

    def __init__(self, output_dir: str, private: PrivateText, scratch: Path):
        self._output_dir, self._private, self._scratch = output_dir, private, scratch
        self.files: dict[str, Path] = {}

    def name(self, path: str | Path) -> str:
        return str(PurePosixPath(path).relative_to(self._output_dir))

    def add_final(self, final: FinalSet, kind: str) -> str:
        """Add a file of a final set, and return the path of what is pushed."""
        path, of_what = Path(final.files[kind]), kind.removeprefix(OF_JUDGE)
        if of_what not in ("provenance", "metrics", "failures"):
            return self.add(path)
        copy = self._copy(path)
        write_json(copy, self._public(of_what, final.read(kind)))
        return self.add(path, copy)

    def _public(self, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        if kind == "failures":
            return {
                item: {**failure, "detail": self._private.without_paths(failure["detail"])}
                for item, failure in value.items()
            }
        return _named(_public_provenance(value) if kind == "provenance" else value)

    def add(self, path: Path, content: Path | None = None) -> str:
        """Add a file if it is there; `content` is what stands for it."""
        source = content or path
        if not source.is_file():
            return str(source)
        if source.suffix != ".parquet":
            source = self._clean(source, self._copy(path))
        self.files[self.name(path)] = source
        return str(source)

    def _clean(self, source: Path, copy: Path) -> Path:
        with open(source, encoding="utf-8", errors="surrogateescape", newline="") as file:
            if not any(map(self._private.is_in, file)):
                return source
            file.seek(0)
            part = copy.with_name(f"{copy.name}.part")
            with (
                full_disk_named(copy.parent),
                open(part, "w", encoding="utf-8", errors="surrogateescape", newline="") as cleaned,
            ):
                cleaned.writelines(map(self._private.without, file))
        return part.rename(copy)

    def _copy(self, path: Path) -> Path:
        copy = self._scratch / self.name(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        return copy


def data_set_name(path: str) -> str:
    """A data set as others know it: its path on the hub, or the name of its file or folder."""
    return path if is_hub_path(path) else PurePosixPath(path).name or path


def _servers(sets: Sequence[FinalSet]) -> Iterator[Mapping[str, Any]]:
    """What is known of all servers: those that answered, and those that were there."""
    kinds = ("provenance", f"{OF_JUDGE}provenance")
    for described in (each.read(kind) for each in sets for kind in kinds if kind in each.files):
        yield from described["answered_by"]
        yield from ({"url": server["url"], **server.get("versions", {})} for server in described["servers"])


def _public_provenance(described: Mapping[str, Any]) -> dict[str, Any]:
    """A provenance file without what it says of machines: names, jobs, and how their servers were started."""
    public = {key: value for key, value in described.items() if key not in _OF_MACHINES}
    public["answered_by"] = [
        {key: value for key, value in server.items() if key != "url"} for server in described["answered_by"]
    ]
    return public


def _named(described: Mapping[str, Any]) -> dict[str, Any]:
    """A provenance or metrics file with names in place of the paths of models and data."""
    named = dict(described)
    for key in ("dataset_path", "question_path", "path", "model_path", "served_name"):
        if isinstance(value := named.get(key), str):
            named[key] = model_name(value) if key in ("model_path", "served_name") else data_set_name(value)
        elif isinstance(value, list):
            named[key] = [data_set_name(each) for each in value]
    if "server_url" in named:
        named["server_url"] = None
    for key in ("settings", "question_file", "captions"):
        if isinstance(value := named.get(key), Mapping):
            named[key] = _named(value)
    return named


def model_name(path: str) -> str:
    """A model as others know it: its id on the hub, or the name of its folder."""
    is_folder = Path(path).is_absolute() or path.startswith((".", "~")) or Path(path).exists() or path.count("/") > 1
    return PurePosixPath(path).name if is_folder else path


def _visible(folder: Path) -> Iterator[Path]:
    """The files below a folder, but for hidden ones, in the order of their names."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))


def _names_private_paths(path: Path, private: PrivateText) -> bool:
    """Whether a parquet file holds paths of this machine.

    Raises:
        ResultError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
        columns = [name for name in PATH_COLUMNS if name in table.schema_arrow.names]
        return any(private.is_in(str(batch.to_pydict())) for batch in table.iter_batches(columns=columns))
    except pa.ArrowException as error:
        raise ResultError(f"{path} is damaged ({error}); delete it, then `captionqa run`.") from error
