"""The end of a run of many models and data sets: a table of accuracies, and one row for each data set.

With a block of rows for each final file, as a smaller run has it, three models on five data sets fill 300 lines.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from captionqa.config.config import Config
from captionqa.config.exports import export_folders
from captionqa.config.layout import Layout
from captionqa.dataset.final_files import final_files
from captionqa.files import read_json
from captionqa.results.answer_sets import answer_sets
from captionqa.results.comparison_records import answered_by
from captionqa.results.judged_records import JudgeMetrics
from captionqa.results.metrics import QaMetrics
from captionqa.results.provenance import read_provenance
from captionqa.results.regrading import Flip, flip_kind, flips_line
from captionqa.run.progress import counted

#: Up to this many final files of named data sets have rows of their own.
MAX_FILES = 12


@dataclass
class _DataSet:
    """The sums over the final files of a data set."""

    config: Config
    layout: Layout
    captions: int = 0
    answers: int = 0
    unparsed: int = 0
    truncated: int = 0
    judged: int = 0
    judged_correct: int = 0
    flips: Counter[str] = field(default_factory=Counter)
    #: {format: how many exports}.
    exports: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        return self.config.data_set

    def rows(self, many_truncated: float) -> Iterator[str]:
        parts = [
            counted(number, what) for number, what in ((self.captions, "caption"), (self.answers, "answer")) if number
        ]
        if self.unparsed:
            parts.append(f"{self.unparsed:,} unparsed (what has no letter or value is wrong)")
        if self.truncated:
            parts.append(f"{self.truncated:,} truncated")
        if self.judged and self.config.judge is not None:
            parts.append(f"{self.config.judge.model} called {self.judged_correct:,} of {self.judged:,} answers correct")
        parts += [counted(number, f"{form} export") for form, number in self.exports.items() if number]
        if parts:
            yield f"  {self.name}: {', '.join(parts)}  {Path(self.layout.page).parent.parent}/"
        if self.truncated > many_truncated * self.answers:
            yield (
                f"    {self.truncated / self.answers:.0%} of the answers were cut: raise qa.{self.name}.max_tokens "
                "(all questions are asked again)"
            )
        if self.flips:
            yield f"    {flips_line(self.flips, self.answers)}"


def is_grid(config: Config, layout: Layout) -> bool:
    """Whether a run has so many final files that each cannot have rows of its own."""
    files = (
        file
        for each, of_data in config.by_data_set(layout)
        for of_model in of_data.of_models(config.model_names)
        for task in each.tasks
        for file in final_files(each, of_model, task)
    )
    return bool(config.named) and sum(1 for _ in files) > MAX_FILES


def grid_rows(config: Config, layout: Layout, many_truncated: float) -> list[str]:
    """The accuracies, where they are compared, and what there is of each data set.

    Above the share `many_truncated` of answers that were cut a row says which key to raise.
    """
    rows = list(_accuracies(config, layout))
    if rows and Path(layout.comparison("md")).exists():
        rows.append(f"  with intervals and differences, over the answered questions: {layout.comparison('md')}")
    for each, of_data in config.by_data_set(layout):
        rows += _summed(each, of_data, config.model_names).rows(many_truncated)
    return rows


def _accuracies(config: Config, layout: Layout) -> Iterator[str]:
    """A row for each model in each context, a column for each data set with questions."""
    # of a judge of before, who is no longer configured, the files may still be there
    deciding = [name for name, each in config.data_sets.items() if each.judge is not None and each.judge.decides]
    found = {
        one.key: _accuracy(
            one.companion("metrics"), one.companion("judge_metrics") if one.data_set in deciding else None
        )
        for one in answer_sets(config, layout)
    }
    if not any(found.values()):
        return
    names = list(dict.fromkeys(name for *_, name in found))
    of_sets = dict.fromkeys((model, captioner, context) for model, captioner, context, _ in found)
    contexts = list(dict.fromkeys(context for _, _, context in of_sets))
    ordered = sorted(of_sets, key=lambda of: contexts.index(of[2]))
    labels = {of: f"{answered_by(of[0], of[1])}, {of[2]}" for of in ordered}
    head = f"accuracy in %, with the judge on {', '.join(deciding)}" if deciding else "accuracy in % (failed is wrong)"
    widths = [max(len(name), 5) for name in names]
    first = max(map(len, [head, *labels.values()]))
    yield _line(f"  {head:<{first}}", names, widths)
    for of, label in labels.items():
        yield _line(f"  {label:<{first}}", [found.get((*of, name), "") or "-" for name in names], widths)


def _summed(config: Config, layout: Layout, models: Sequence[str]) -> _DataSet:
    """What the final files of one data set say together."""
    summed = _DataSet(config, layout)
    for of_model in layout.of_models(models):
        for task in config.tasks:
            for file in final_files(config, of_model, task):
                if task == "captions" and (stored := read_provenance(file.provenance)) is not None:
                    summed.captions += stored["counts"]["answered"]
                elif file.context is not None:
                    _add_answers(summed, of_model, file.context.suffix)
        for form, folder in export_folders(config, of_model):
            summed.exports[form] += Path(layout.export_summary(folder)).exists()
    return summed


def _add_answers(summed: _DataSet, layout: Layout, suffix: str) -> None:
    metrics: QaMetrics | None = read_json(layout.qa("metrics", suffix))
    if metrics is None:
        return
    summed.answers += metrics["answered_questions"]
    summed.unparsed += metrics["unparsed_answers"]
    summed.truncated += metrics["truncated_answers"]
    judged: JudgeMetrics | None = read_json(layout.qa("judge_metrics", suffix))
    if judged is not None and summed.config.judge is not None:
        summed.judged += judged["by_judge"]["judged"]
        summed.judged_correct += judged["by_judge"]["correct"]
    flips: Mapping[str, Flip] = read_json(layout.qa("flips", suffix)) or {}
    summed.flips.update(map(flip_kind, flips.values()))


def _line(label: str, cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join([label, *(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))])


def _accuracy(metrics_path: str, judged_path: str | None) -> str:
    """An accuracy in per cent, with the grades of a judge where its metrics are given; empty where there is none."""
    metrics: QaMetrics | None = read_json(metrics_path)
    judged: JudgeMetrics | None = None if judged_path is None else read_json(judged_path)
    if metrics is None or metrics.get("ungraded_questions", 0) == metrics["total_questions"]:
        return ""
    decided = None if judged is None else judged["combined"]["accuracy"]
    return f"{100 * (metrics['overall_accuracy'] if decided is None else decided):.1f}"
