"""The card of a pushed run: README.md with the metadata that the hub reads, and facts from the provenance files.

Nothing is in it that no file of the run says: no licence, no language, no description of the data.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from captionqa.config.config import Task
from captionqa.push.final_sets import FinalSet
from captionqa.push.markdown import code_block, table
from captionqa.results.judged_records import JudgeMetrics
from captionqa.results.metrics import QaMetrics
from captionqa.results.provenance import Provenance

CARD = "README.md"
#: The tasks as the hub calls them.
CATEGORIES: Mapping[Task, str] = {"captions": "image-to-text", "qa": "visual-question-answering"}
#: The formats of exports that the hub shows as tables, the better one first.
TABLES = ("parquet", "jsonl")
#: Settings that are texts: what asks for the answers.
TEXTS = {
    "prompt": "Prompt",
    "multi_image_prompt": "Prompt with several images",
    "schema": "JSON schema of the captions",
    "system_prompt": "System prompt",
    "instruction": "Instruction below each question",
    "caption_template": "What stands for an image in the context `caption`",
    "fallback": "Second request, where no letter could be read",
}
#: What the files of a kind hold.
FILES = {
    "captions": "{image: caption}",
    "statistics": "lengths, truncation, repetition and duplicates of the captions",
    "results": "{qid: record} with question, answer and grade",
    "metrics": "accuracies with intervals, overall, by category and by source",
    "flips": "answers whose grade changed when they were graded anew",
    "failures": "{item: reason and detail} of what has no result",
    "provenance": "how the file was made: settings, versions, counts, digests of the data",
    "judged": "{qid: the grade of the rules and that of a judge, with its words}",
    "judge_metrics": "accuracies by the rules and by the judge, and how far they agree",
    "judge_failures": "{qid: reason and detail} of the answers that the judge could not be asked about",
    "judge_provenance": "the judge's model, prompt, settings and counts",
}


class _Described:
    """A final set with what its own files say."""

    def __init__(self, final: FinalSet):
        self.final = final
        self.provenance: Provenance = final.read("provenance")
        self.metrics: QaMetrics | None = final.read("metrics") if "metrics" in final.files else None
        self.judged: JudgeMetrics | None = final.read("judge_metrics") if "judge_metrics" in final.files else None
        is_judged = "judge_provenance" in final.files
        self.judge_provenance: Provenance | None = final.read("judge_provenance") if is_judged else None


def card(title: str, sets: Sequence[FinalSet], names: Sequence[str]) -> str:
    """The card of these final sets, whose files are as pushed; `names` are the files of the repository."""
    described = [_Described(each) for each in sets]
    metadata = _metadata(title, sets, names)
    lines = [f"# {title}", "", *_summary(described), "", *_models(described), "", *_data(described)]
    for task, section in (("captions", _captions), ("qa", _answers)):
        if found := [each for each in described if each.final.task == task]:
            lines += ["", *section(found)]
    lines += ["", *_settings(described), "", *_files(sets, names)]
    return f"---\n{metadata}\n---\n\n" + "\n".join(lines) + "\n"


def _metadata(title: str, sets: Sequence[FinalSet], names: Sequence[str]) -> str:
    """The YAML at the head: among it which files the hub can show as tables."""
    from huggingface_hub import DatasetCardData

    tables = list(_tables(names))
    return DatasetCardData(
        pretty_name=title,
        task_categories=[CATEGORIES[task] for task in dict.fromkeys(each.task for each in sets)],
        tags=["captionqa"],
        # else the hub tries to read all JSON files as tables, which the objects of results are not
        **({"configs": tables} if tables else {"viewer": False}),
    ).to_yaml()


def _tables(names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """The exports that are tables, by their folders, as the configurations of a data set of the hub."""
    folders = {str(PurePosixPath(name).parent) for name in names if PurePosixPath(name).match("export/*/*/*/*")}
    for folder in sorted(folders):
        stem, _, form = PurePosixPath(folder).name.rpartition("_")
        better = TABLES[: TABLES.index(form)] if form in TABLES else TABLES
        if form in TABLES and not any(f"{folder.removesuffix(form)}{other}" in folders for other in better):
            data_set = folder.partition("export/")[0].replace("/", "_")
            yield {"config_name": f"{data_set}{stem}", "data_files": f"{folder}/*.{form}"}


def _summary(described: Sequence[_Described]) -> Iterator[str]:
    code = described[0].provenance["captionqa"]
    commit = f", commit {code['git_commit']}" if code["git_commit"] else ""
    changed = " with local changes" if code["git_dirty"] else ""
    yield f"Results of captionqa {code['version']}{commit}{changed}."
    started = min(each.provenance["started"] for each in described)
    finished = max(each.provenance["finished"] for each in described)
    yield f"The answers were made between {started} and {finished}."


def _models(described: Sequence[_Described]) -> Iterator[str]:
    yield "## Models"
    yield ""
    rows: dict[tuple[str, ...], None] = {}
    of_judges = (each.judge_provenance for each in described if each.judge_provenance is not None)
    for about in (*(each.provenance for each in described), *of_judges):
        settings = about["settings"]
        servers: Sequence[Mapping[str, Any]] = about["answered_by"]
        for server in servers or [{}]:
            revision, vllm = server.get("model_revision"), server.get("vllm")
            rows[settings["model"], settings["model_path"], str(revision or "-"), str(vllm or "-")] = None
    yield from table(["model", "weights", "revision", "vLLM"], list(rows))


def _data(described: Sequence[_Described]) -> Iterator[str]:
    yield "## Data"
    yield ""
    rows: dict[tuple[str, ...], None] = {}
    for each in described:
        about = each.provenance
        names = [about["dataset_path"]]
        if "question_file" in about:
            path = about["question_file"]["path"]
            names = [path] if isinstance(path, str) else list(path)
        title = f"{each.final.data_set}: " if each.final.data_set else ""
        commits = [f"{name} at {commit}" for name, commit in about.get("hub_commits", {}).items()]
        items = f"{about['counts']['items']:,}"
        shown = (f"{title}{', '.join(names)}", ", ".join(commits) or "-", items, about["dataset_fingerprint"])
        rows[each.final.task, *shown] = None
    yield from table(["task", "data set", "commit on the hub", "items", "digest of the items' ids"], list(rows))


def _captions(described: Sequence[_Described]) -> Iterator[str]:
    yield "## Captions"
    yield ""
    yield from table(
        ["model", "captions", "images", "captioned", "cut at the token limit", "failed"],
        [[each.final.model, each.final.name, *_counts(each)] for each in described],
    )


def _answers(described: Sequence[_Described]) -> Iterator[str]:
    yield "## Answers"
    yield ""
    yield "Intervals are of 95 %. A question that failed counts as wrong; one without a ground truth does not count."
    yield ""
    heads = ["model", "questions", "asked", "answered", "cut at the token limit", "failed"]
    heads += ["accuracy", "interval", "mean score", "interval", "unread", "refused", "without ground truth"]
    yield from table(heads, [[each.final.model, each.final.name, *_counts(each), *_grades(each)] for each in described])
    yield ""
    # metrics of early versions say neither this nor scores
    scorings = {
        (each.metrics["scoring"], each.metrics["relative_tolerance"])
        for each in described
        if each.metrics and "scoring" in each.metrics
    }
    for scoring, tolerance in sorted(scorings):
        yield f"Scored by `{scoring}`, with a relative tolerance of {tolerance:g} for numbers."
    yield from _repeats(described)
    yield from _judgements(described)


def _repeats(described: Sequence[_Described]) -> Iterator[str]:
    """What the accuracies count of questions that were asked more than once; nothing where none was."""
    rows = []
    for each in described:
        if each.metrics is None or (repeats := each.metrics.get("repeats")) is None:
            continue
        counts = [f"{repeats['questions']:,}", f"{repeats['requests']:,}"]
        shares = [repeats["first_accuracy"], repeats["mean_accuracy"], repeats["decided_accuracy"]]
        shares.append(repeats["consistency"])
        rows.append([each.final.model, each.final.name, *counts, *map(_share, shares)])
    if not rows:
        return
    yield ""
    yield (
        "A question that was asked more than once has one grade: that of the majority of its answers, or with "
        "CircularEval right if right in each rotation of the choices."
    )
    yield ""
    heads = ["model", "questions", "asked more than once", "requests", "by the first answer", "mean", "by that grade"]
    yield from table([*heads, "answered alike each time"], rows)


def _judgements(described: Sequence[_Described]) -> Iterator[str]:
    """The figures of a judge; nothing where there is none."""
    rows = []
    for each in described:
        if (judged := each.judged) is None:
            continue
        by_judge, combined, agreement = judged["by_judge"], judged["combined"], judged["agreement"]
        counts = [f"{by_judge[key]:,}" for key in ("items", "correct", "incorrect", "unscored", "failed")]
        kappa = "-" if agreement["cohens_kappa"] is None else f"{agreement['cohens_kappa']:.2f}"
        figures = [_share(combined["accuracy"]), _interval(combined["accuracy_interval_95"]), kappa]
        rows.append([each.final.model, each.final.name, judged["judge"], *counts, *figures])
    if not rows:
        return
    yield ""
    yield (
        "All accuracies above are by rules. A judge graded answers too: with it an accuracy has the judge's grade "
        "where the rules read nothing. Cohen's kappa is of the answers that both graded."
    )
    yield ""
    heads = ["model", "questions", "judge", "answers it got", "correct", "incorrect", "unscored", "failed"]
    yield from table([*heads, "accuracy with it", "interval", "kappa"], rows)


def _counts(each: _Described) -> list[str]:
    counts = each.provenance["counts"]
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in counts["failures_by_reason"].items())
    failed = f"{counts['failed']:,}" + (f" ({by_reason})" if by_reason else "")
    return [f"{counts['items']:,}", f"{counts['answered']:,}", f"{counts['truncated']:,}", failed]


def _grades(each: _Described) -> list[str]:
    metrics = each.metrics
    assert metrics is not None, "questions have metrics"
    ungraded = metrics.get("ungraded_questions", 0)
    accuracy = [f"{metrics['overall_accuracy']:.1%}", _interval(metrics["overall_accuracy_interval_95"])]
    score = ["-", "-"]
    if "mean_score" in metrics:
        score = [f"{metrics['mean_score']:.1%}", _interval(metrics["mean_score_interval_95"])]
    counts = [metrics["unparsed_answers"], metrics["refused_answers"], ungraded]
    grades = accuracy + score if ungraded < metrics["total_questions"] else ["-"] * 4
    return [*grades, *(f"{count:,}" for count in counts)]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _interval(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"


def _settings(described: Sequence[_Described]) -> Iterator[str]:
    """How each was asked: the sampling, then the texts, each once with what it was for."""
    yield "## How it was asked"
    yield ""
    texts: dict[tuple[str, str], list[str]] = {}
    rows = []
    for each in described:
        settings: Mapping[str, Any] = each.provenance["settings"]
        who = f"{each.final.model}, {each.final.name}"
        sampling = ", ".join(f"{name} {value}" for name, value in settings["sampling"].items() if value is not None)
        rows.append([who, f"{settings['max_tokens']:,}", sampling or "the server's own"])
        for key, title in TEXTS.items():
            if text := settings.get(key):
                texts.setdefault((title, text), []).append(who)
    yield from table(["model, task", "most tokens", "sampling"], rows)
    for (title, text), asked in texts.items():
        yield ""
        yield f"{title} ({'; '.join(asked)}):"
        yield ""
        yield from code_block(text)


def _files(sets: Sequence[FinalSet], names: Sequence[str]) -> Iterator[str]:
    yield "## Files"
    yield ""
    kinds = {kind for each in sets for kind in each.files}
    endings = {"captions": "MODEL_STYLE.json"}
    rows = [[endings.get(kind, f"..._{kind}.json"), what] for kind, what in FILES.items() if kind in kinds]
    if "comparison.json" in names:
        rows.append(["comparison.json, .csv, .md", "the results compared: paired differences, intervals and tests"])
    if any(PurePosixPath(name).match("export/*/*/*/*") for name in names):
        rows.append(["export/", "the same for other programs, a folder for each format"])
    yield from table(["file", "what"], rows)
