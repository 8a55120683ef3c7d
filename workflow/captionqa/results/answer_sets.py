"""The answer sets of a run: each results file of the questions, with the model and the context that it is of."""

from dataclasses import dataclass, replace
from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.layout import Layout

RESULTS_ENDING = "_results.json"
FAILURES_ENDING = "_failures.json"


@dataclass(frozen=True)
class AnswerSet:
    """The answers of one model to the questions of one data set in one context."""

    model: str
    #: What the questions were asked with: image, none, gray, or caption_STYLE.
    context: str
    #: The results file; its companions are beside it.
    results: str
    #: Of captions: the model that made them, where another one answers from them.
    captioner: str | None = None
    #: The name of the data set; empty where the configuration gives it none.
    data_set: str = ""

    @property
    def key(self) -> tuple[str, str | None, str, str]:
        """What tells the answer sets of a run apart."""
        return self.model, self.captioner, self.context, self.data_set

    @property
    def failures(self) -> Path:
        return Path(self.companion("failures"))

    def companion(self, kind: str) -> str:
        """The path of a file beside the results: failures, metrics or provenance."""
        return f"{self.results.removesuffix(RESULTS_ENDING)}_{kind}.json"

    def as_compared(self) -> tuple[str | None, ...]:
        """What a comparison is made anew for, if it changes: (model, context), and what else tells it apart.

        That is the captioner where there is one, and the data set where it has a name.
        """
        if self.data_set:
            return self.model, self.context, self.captioner, self.data_set
        return (self.model, self.context, *([] if self.captioner is None else [self.captioner]))


def answer_sets(config: Config, layout: Layout) -> list[AnswerSet]:
    """The answer sets that a configuration asks for, one for each data set, model and context."""
    return [
        AnswerSet(
            model, one.name, replace(of_data, model=model).qa("results", one.suffix), one.captioner, each.data_set
        )
        for each, of_data in config.by_data_set(layout)
        for model, one in each.answers
    ]
