"""The answer sets of a run: each results file of the questions, with the model and the context that it is of."""

from dataclasses import dataclass
from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.layout import Layout

RESULTS_ENDING = "_results.json"
FAILURES_ENDING = "_failures.json"


@dataclass(frozen=True)
class AnswerSet:
    """The answers of one model in one context."""

    model: str
    #: What the questions were asked with: image, none, gray, or caption_STYLE.
    context: str
    #: The results file; its companions are beside it.
    results: str

    @property
    def failures(self) -> Path:
        return Path(self.companion("failures"))

    def companion(self, kind: str) -> str:
        """The path of a file beside the results: failures, metrics or provenance."""
        path = Path(self.results)
        return str(path.with_name(f"{path.name.removesuffix(RESULTS_ENDING)}_{kind}.json"))


def answer_sets(config: Config, layout: Layout) -> list[AnswerSet]:
    """The answer sets that a configuration asks for, one for each context; none where there are no questions."""
    return [AnswerSet(layout.model, one.name, layout.qa("results", one.suffix)) for one in config.contexts]
