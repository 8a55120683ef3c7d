"""What no pushed file may say: where the files of this machine are, and the addresses of servers."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from captionqa.config.config import Config
from captionqa.config.data_root import data_folder
from captionqa.config.hub_record import data_paths, is_hub_path

#: What stands for the address of a server.
ADDRESS = "http://server"
#: Parts of the shortest folder that is replaced: `/data` says nothing about a person and may be a word of a model.
MIN_PARTS = 3
#: What would make a folder a part of another name.
_GOES_ON = r"(?![\w-]|\.\w)"

#: An absolute path in a message, and its last part: in quotes, or without blanks; not what follows an address's host.
_QUOTED_PATH = re.compile(r"(?<=['\"])/(?:[^/\n'\"]+/)+([^/\n'\"]*)(?=['\"])")
_PLAIN_PATH = re.compile(r"(?<![\w.:/~-])/(?:[^/\s'\"]+/)+([^/\s'\",;:]*)")


class PrivateText:
    """Replaces folders of this machine by what stands for them, and addresses of servers by `ADDRESS`.

    `folders` are {path as configured: what stands for it}; of a path that is relative or a link, the absolute one is
    private too.
    """

    def __init__(self, folders: Mapping[str, str], addresses: Iterable[str]):
        self._shown: dict[str, str] = {}
        for folder, shown in folders.items():
            for path in {str(Path(folder).absolute()), str(Path(folder).resolve())}:
                if len(PurePosixPath(path).parts) >= MIN_PARTS:
                    self._add(path, shown)
        for address in addresses:
            parts = urlsplit(address)
            self._add(f"{parts.scheme}://{parts.netloc}", ADDRESS)
        forms = "|".join(map(re.escape, sorted(self._shown, key=len, reverse=True)))
        self._pattern = re.compile(f"(?:{forms}){_GOES_ON}" if forms else r"(?!)")

    def is_in(self, text: str) -> bool:
        return self._pattern.search(text) is not None

    def without(self, text: str) -> str:
        """The text with nothing private; also of JSON, in which paths may be written with escapes."""
        return self._pattern.sub(lambda match: self._shown[match[0]], text)

    def without_paths(self, text: str) -> str:
        """The same of a message: of any other absolute path the last part alone."""
        return _PLAIN_PATH.sub(r"\1", _QUOTED_PATH.sub(r"\1", self.without(text)))

    def _add(self, private: str, shown: str) -> None:
        self._shown[private] = shown
        for ascii_only in (True, False):
            self._shown[json.dumps(private, ensure_ascii=ascii_only)[1:-1]] = json.dumps(
                shown, ensure_ascii=ascii_only
            )[1:-1]


def private_text(config: Config, addresses: Iterable[str], folders: Iterable[str]) -> PrivateText:
    """What is private in the results of a configuration.

    `addresses` are those of servers that it does not name, `folders` absolute paths from which servers loaded models.
    """
    urls = [model.url for model in config.models.values() if model.url]
    named = {folder: PurePosixPath(folder).name for folder in folders}
    named |= {folder: Path(folder).resolve().name for folder in _folders(config)}
    return PrivateText({**named, str(Path.home()): "~"}, [*urls, *addresses])


def _folders(config: Config) -> Iterator[str]:
    """The folders of the data, the models and the output, and the one in which the user is."""
    yield from (str(Path.cwd()), config.output_dir, *config.client.images.allowed_roots)
    yield from (model.path for model in config.models.values())
    for each in config.data_sets.values():
        for section in (each.captions, each.qa):
            if section is None:
                continue
            values = vars(section)
            paths = data_paths(values, None) if section is each.captions else data_paths(None, values)
            yield from (str(data_folder(path)) for path in paths if not is_hub_path(path))
            yield from (str(data_folder(files["path"])) for files in section.hub.values())
        if each.captions is not None and each.captions.questions_root:
            yield str(data_folder(each.captions.questions_root))
        if each.qa is not None:
            yield from (str(Path(path).parent) for path in each.qa.caption_files.values())
