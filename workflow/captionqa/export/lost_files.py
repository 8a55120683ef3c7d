"""Exports whose files somebody deleted, while what says that they are complete, which is hidden, stayed."""

import os
from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.exports import export_folders
from captionqa.config.layout import Layout
from captionqa.export.target import MADE_FROM
from captionqa.files import read_json
from captionqa.run.lease import live_lease


def drop_lost_exports(config: Config, layout: Layout) -> None:
    """Have the next run write the exports again of which no file is left, unless a run works on the folder."""
    if any(live_lease(each.server) is not None for each in layout.of_models(config.model_names)):
        return
    for each, of_data in config.by_data_set(layout):
        for of_model in of_data.of_models(config.model_names):
            for _, folder in export_folders(each, of_model):
                if _is_lost(folder):
                    for name in (MADE_FROM, Path(Layout.export_summary(folder)).name):
                        Path(folder, name).unlink(missing_ok=True)


def _is_lost(folder: str) -> bool:
    summary = read_json(Layout.export_summary(folder))
    if not isinstance(summary, dict) or not summary.get("files"):
        return False
    with os.scandir(folder) as entries:
        return all(entry.name.startswith(".") for entry in entries)
