"""Which exports a configuration asks for, and where each is."""

from captionqa.config.config import Config
from captionqa.config.layout import Layout


def export_folders(config: Config, layout: Layout) -> list[tuple[str, str]]:
    """(format, folder) of each export of the layout's model and data set."""
    of_captions = [
        (form, layout.caption_export(captions.key, form))
        for captions in (config.caption_sets if "captions" in config.tasks_of(layout.model) else ())
        for form in config.export.captions
    ]
    return of_captions + [
        (form, layout.answer_export(form, context.suffix))
        for context in config.contexts_of(layout.model)
        for form in config.export.qa
    ]
