"""All failures of a run, a row of text each, for a page that shows a sample of the items."""

from itertools import groupby, islice
from pathlib import Path
from typing import Any

from captionqa.dataset.json_elements import KEY_COLUMN, elements
from captionqa.external_sort import ExternalSort
from captionqa.page.answers import cut
from captionqa.page.script_data import write_script

#: Rows of a file that the page loads at once.
SHARD_ROWS = 1000


class FailureRows:
    """The failures of all final files, sorted by file and reason, so that a filter by these is a range of rows."""

    def __init__(self, folder: Path):
        """`folder` is for a temporary file."""
        self._rows = ExternalSort(folder)
        self._parts: list[str] = []

    def add(self, part: str, path: str) -> None:
        """Add those of a failures file; `part` is what the page calls its final file."""
        self._parts.append(part)
        for _, _, failure in elements(Path(path)):
            self._rows.add((len(self._parts) - 1, failure["reason"], failure[KEY_COLUMN], cut(failure["detail"])))

    def write(self, data: Path) -> dict[str, Any]:
        """Write all rows as the page's data, and return what the page's overview says of them.

        Raises:
            OSError: the folder cannot be written.
        """
        groups: list[dict[str, Any]] = []
        with self._rows as rows:
            left = iter(rows)
            for number, shard in enumerate(iter(lambda: list(islice(left, SHARD_ROWS)), [])):
                write_script(data, f"failures-{number}", [row[2:] for row in shard])
                for (part, reason), members in groupby(shard, key=lambda row: (row[0], row[1])):
                    if not groups or (groups[-1]["part"], groups[-1]["reason"]) != (self._parts[part], reason):
                        groups.append({"part": self._parts[part], "reason": reason, "rows": 0})
                    groups[-1]["rows"] += len(list(members))
        return {"groups": groups, "counts": {"all": sum(group["rows"] for group in groups)}, "shard_items": SHARD_ROWS}
