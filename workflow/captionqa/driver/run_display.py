"""What the terminal shows while a run goes: on a terminal bars and servers in place, in a file a line now and then."""

import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captionqa.config.layout import Layout
from captionqa.driver.run_view import RunView, read_view
from captionqa.driver.terminal import LiveArea, is_terminal, print_message
from captionqa.shown_text import printable

if TYPE_CHECKING:
    from rich.console import Group

#: Seconds between two looks at the run's files.
LOOK_INTERVAL_S = 1.0
#: Seconds between two lines in a file, at first and later: a run of a night must not write thousands.
FIRST_LINE_INTERVAL_S = 10.0
LINE_INTERVAL_S = 60.0
#: From this age on a run writes fewer lines.
FIRST_LINES_S = 300.0
BAR_WIDTH = 30
#: A message in the log of start_server; what else is in it comes at the end of the run.
LOG_MESSAGE = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ (?:INFO|WARNING) (.*)$")


class RunDisplay:
    """Shows the run until it ends; `layouts` are those of its models, that of the first comes first.

    `in_place`: bars that are replaced, where a terminal is there.
    """

    def __init__(self, layouts: Sequence[Layout], in_place: bool = True):
        self._layout = layouts[0]
        self._area = LiveArea() if in_place and is_terminal() else None
        self._start_logs = [StartLog(Path(layout.server_logs) / "start_server.log") for layout in layouts]
        self._began = self._printed_at = time.monotonic()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def start(self) -> None:
        for log in self._start_logs:
            log.clear()
        self._thread = threading.Thread(target=self._show, daemon=True, name="display")
        self._thread.start()

    def close(self) -> None:
        """Show no more; what start_server last said is not lost."""
        self._ended.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)
        if self._area:
            self._area.close()
        self._relay()

    def _relay(self) -> None:
        for log in self._start_logs:
            log.relay()

    def _show(self) -> None:
        while not self._ended.wait(LOOK_INTERVAL_S):
            try:
                self._relay()
                view = read_view(self._layout)
            except OSError:  # a file system that fails for a moment
                continue
            if self._area:
                self._area.update(bars(view))
            else:
                self._print_line(view)

    def _print_line(self, view: RunView) -> None:
        now = time.monotonic()
        interval = FIRST_LINE_INTERVAL_S if now - self._began < FIRST_LINES_S else LINE_INTERVAL_S
        if now - self._printed_at >= interval and 0 < view.done < view.to_do:
            self._printed_at = now
            print_message(view.line())


class StartLog:
    """The log of start_server, whose messages appear on the terminal as it writes them."""

    def __init__(self, path: Path):
        self._path = path
        self._read = 0

    def clear(self) -> None:
        """Forget what an earlier run wrote."""
        self._path.unlink(missing_ok=True)

    def relay(self) -> None:
        """Print the messages that are new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # it is being written
                    return
                self._read += len(line)
                if found := LOG_MESSAGE.match(line.decode(errors="replace").rstrip()):
                    print_message(found[1])


def bars(view: RunView) -> "Group":
    """A row for each task with its bar, and a line for each server."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for task in view.tasks:
        bar = ProgressBar(total=task.to_do, completed=task.counts["done"], width=BAR_WIDTH)
        style = "red" if task.counts["failed"] else ""
        table.add_row(task.task, bar, Text(task.text(), style, overflow="ellipsis", no_wrap=True))
    servers = (Text(printable(line), "dim", overflow="ellipsis", no_wrap=True) for line in view.server_lines())
    return Group(table, *servers)
