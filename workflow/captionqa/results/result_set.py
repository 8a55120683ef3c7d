"""The stored results of one final file, selected by task, prompt style and model."""

from dataclasses import dataclass
from pathlib import Path

from captionqa.client.pending_requests import ItemChecker
from captionqa.config.answer_files import AnswerFiles, journal_segments
from captionqa.config.config import Config, Task
from captionqa.config.layout import Layout
from captionqa.config.settings import AnswerSettings
from captionqa.dataset.final_files import FinalFile, final_files
from captionqa.errors import ConfigError
from captionqa.run.lease import live_lease


@dataclass(frozen=True)
class ResultSet:
    """All stored results of one final file."""

    #: Of its data set, as the layout.
    config: Config
    layout: Layout
    file: FinalFile
    #: Finds faults of its items.
    checker: ItemChecker

    @property
    def name(self) -> str:
        """As a person reads it: `captions STYLE`, `qa`, `qa none`; after `MODEL: ` and the data set, where needed."""
        return self.config.title(self.file.name, self.layout.model)

    @property
    def files(self) -> AnswerFiles:
        """Its journals and chunk results."""
        return self.file.files

    @property
    def settings(self) -> AnswerSettings:
        """What decides its requests, as configured now."""
        return self.file.settings

    @property
    def journal(self) -> list[Path]:
        """The segments of the journal of answers."""
        return journal_segments(self.files.journal)


def selected_results(config: Config, task: Task | None, style: str | None, model: str | None = None) -> list[ResultSet]:
    """The result sets of a task, a prompt style and a model; None means all that are configured.

    Raises:
        ConfigError: the style or the model is not configured, or a run is going on.
    """
    layout = config.layout()
    check_no_run(config, layout)
    styles = {name.lower() for each in config.data_sets.values() for name in each.prompt_styles}
    if style is not None and style.lower() not in styles:
        raise ConfigError(f"{style!r} is none of the configured styles: {', '.join(sorted(styles)) or 'none'}.")
    if model is not None and model not in config.model_names:
        raise ConfigError(f"--model {model}: the models are {', '.join(config.model_names)}.")
    return [
        ResultSet(each, of_model, file, ItemChecker(each, name, file.settings))
        for each, of_data in config.by_data_set(layout)
        for of_model in of_data.of_models(config.model_names)
        for name in (*each.tasks, "judge")
        if task in (None, name)
        for file in final_files(each, of_model, name)
        if model in (None, of_model.model)
        if style is None or file.files.folder in _of_style(each, of_model, style)
    ]


def check_no_run(config: Config, layout: Layout) -> None:
    """Check that no run works on the output folder.

    Raises:
        ConfigError: one does.
    """
    if any(live_lease(each.server) is not None for each in layout.of_models(config.model_names)):
        raise ConfigError(f"a run works on {config.output_dir} now; wait for it or stop it first.")


def _of_style(config: Config, layout: Layout, style: str) -> set[str]:
    """The work folders of the captions of a prompt style."""
    return {layout.captions_work(one.key) for one in config.caption_sets if one.style.lower() == style.lower()}
