"""The stored results of one final file, selected by task and prompt style."""

import time
from dataclasses import dataclass
from pathlib import Path

from captionqa.client.pending_requests import ItemChecker
from captionqa.config.answer_files import AnswerFiles, journal_segments
from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings
from captionqa.dataset.plan import work_folders
from captionqa.errors import ConfigError
from captionqa.files import write_json
from captionqa.run.lease import live_lease


@dataclass(frozen=True)
class ResultSet:
    """All stored results of one final file."""

    #: `captions STYLE` or `qa`.
    name: str
    layout: Layout
    task: Task
    #: Its journals and chunk results.
    files: AnswerFiles
    #: What decides its requests, as configured now.
    settings: AnswerSettings
    #: Finds faults of its items.
    checker: ItemChecker
    provenance: str

    @property
    def journal(self) -> list[Path]:
        """The segments of the journal of answers."""
        return journal_segments(self.files.journal)

    def let_merge_run(self) -> None:
        """Give the merge a reason to run, so that Snakemake makes the missing chunk results; the final file stays."""
        write_json(self.files.asked_again, {"time": time.time()})


def selected_results(config: Config, task: Task | None, style: str | None) -> list[ResultSet]:
    """The result sets of a task and a prompt style; None means all that are configured.

    Raises:
        ConfigError: the style is not configured, or a run is going on.
    """
    layout = Layout(config.output_dir, config.model_name)
    if live_lease(layout.server) is not None:
        raise ConfigError(f"a run works on {config.output_dir} now; wait for it or stop it first.")
    styles = {name.lower(): name for name in config.prompt_styles}
    if style is not None and style.lower() not in styles:
        raise ConfigError(f"{style!r} is none of the configured styles: {', '.join(sorted(styles)) or 'none'}.")
    names = {layout.captions_work(short): f"captions {name}" for short, name in styles.items()}
    provenances = {layout.captions_work(short): layout.captions(short, "_provenance") for short in styles}
    wanted = None if style is None else layout.captions_work(style.lower())
    return [
        ResultSet(
            names.get(work, "qa"),
            layout,
            name,
            AnswerFiles(work),
            settings_now,
            ItemChecker(config, name, settings_now),
            provenances.get(work, layout.qa("provenance")),
        )
        for name in config.tasks
        if task in (None, name)
        for work, settings_now in work_folders(config, layout, name)
        if wanted in (None, work)
    ]
