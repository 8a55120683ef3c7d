"""The page of several data sets, with the page of each below its name, as `captionqa view` shows them."""

from collections.abc import Mapping
from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.page.grid import grid_overview
from captionqa.page.live_page import LivePage, Reply, asset_reply, script_reply
from captionqa.page.results_page import HTML
from captionqa.page.run_figures import run_figures

#: What is between the name of a data set and the files of its page, as in the output folder.
REPORT = "report/"


class LiveGrid:
    """The files of all pages, made when they are asked for."""

    def __init__(self, config: Config, layout: Layout, folder: Path, phase_names: Mapping[str, str]):
        """`folder` is for temporary files.

        Raises:
            ResultError: a final file or a chunk result is missing or incomplete.
        """
        self._overview = grid_overview(config, layout, to_root=".")
        self._figures = run_figures(config, layout, phase_names)
        self._pages: dict[str, LivePage] = {}
        for each, of_data in config.by_data_set(layout):
            own = folder / each.data_set
            own.mkdir()
            self._pages[each.data_set] = LivePage(each, of_data, own, phase_names)

    def reply(self, path: str) -> Reply | None:
        """The file at a path; None where there is none."""
        name, _, rest = path.partition("/")
        if name in self._pages and rest.startswith(REPORT):
            return self._pages[name].reply(rest.removeprefix(REPORT) or HTML)
        if path == "data/overview.js":
            return script_reply("overview", self._overview)
        if path == "data/run.js":
            return script_reply("run", self._figures)
        return asset_reply(path)
