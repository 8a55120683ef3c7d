"""The page of a comparison: the questions that one of two runs alone got right, with their images and both answers."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict, cast

from captionqa.config.settings import ImageSettings
from captionqa.dataset.json_elements import KEY_COLUMN, elements
from captionqa.errors import ResultError
from captionqa.page.answers import PageAnswer, cut, given
from captionqa.page.page_lists import PageContents
from captionqa.page.pictures import Pictures
from captionqa.page.questions import numbered, truths, without_choices
from captionqa.page.results_page import write_folder
from captionqa.results.answer_sets import RESULTS_ENDING
from captionqa.results.compare_runs import Comparison, FlippedQuestion
from captionqa.results.provenance import Provenance, read_provenance
from captionqa.results.qa_record import QaRecord

PROVENANCE_ENDING = "_provenance.json"
#: By these limits images are read of versions that have no provenance, and of a run that was asked without its images.
IMAGE_SETTINGS: ImageSettings = {"max_pixels": None, "pixel_grid_px": 1, "max_source_pixels": 100_000_000}

Direction = Literal["only_a", "only_b"]


class FlipItem(TypedDict):
    """A question that one run alone got right."""

    qid: str
    direction: Direction
    category: str
    question: str
    choices: list[str]
    truth: list[str]
    truth_letter: str | None
    a: PageAnswer
    b: PageAnswer
    images: list[str]
    has_pictures: bool


class _Run(NamedTuple):
    """Where the images of a run are, and how they are read."""

    dataset: str
    settings: ImageSettings


def write_comparison_page(comparison: Comparison, folder: Path, allowed_roots: Sequence[str] = ()) -> Path:
    """Write the page of a comparison into a folder and return its path.

    The images are those of A, by the provenance file beside it; `allowed_roots` are folders that its links may lead to.

    Raises:
        ResultError: the folder holds something else.
        OSError: the folder cannot be written.
    """
    flips = comparison["flipped_questions"]
    items = sorted(_items(comparison), key=lambda item: (item["direction"], item["category"], item["qid"]))
    counts = Counter[str](item["direction"] for item in items)
    index = {
        "qids": [item["qid"] for item in items],
        "direction": [item["direction"] for item in items],
        "category": numbered([item["category"] for item in items]),
        "counts": {"all": len(flips), **counts},
    }
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "page.js").exists():
        raise ResultError(f"{folder} is not empty and holds no page; name another folder for the page.")
    run, contents = _run_of(comparison["a"]), PageContents()
    contents.add("flips", run.dataset, items, index)
    left_out = {reason: len(qids) for reason, qids in comparison["left_out"].items() if isinstance(qids, list)}
    overview: dict[str, Any] = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "flips": contents.lists[0].index,
        "comparison": {
            **cast(dict[str, Any], comparison),
            "flipped_questions": None,
            "left_out": left_out,
        },
    }
    pictures = Pictures(run.settings, allowed_roots, folder / "thumbs")
    write_folder(folder, overview, contents, pictures, {"phases": None, "verdict": [], "plots": []})
    return folder / "index.html"


def _items(comparison: Comparison) -> Iterator[FlipItem]:
    flips = {flip["qid"]: flip for flip in comparison["flipped_questions"]}
    theirs = {record["qid"]: record for record in _records(comparison["b"], flips)}
    for record in _records(comparison["a"], flips):
        other = theirs[record["qid"]]
        yield {
            "qid": record["qid"],
            "direction": "only_a" if record["is_correct"] else "only_b",
            "category": record["category"],
            "question": cut(without_choices(record["question"], record.get("choices", []))),
            "choices": [cut(choice) for choice in record.get("choices", [])],
            "truth": truths(record["gt_answer"]),
            "truth_letter": record.get("gt_letter"),
            "a": given(record),
            "b": given(other),
            "images": list(record.get("image_paths", [])),
            "has_pictures": True,
        }


def _records(path: str, flips: dict[str, FlippedQuestion]) -> Iterator[QaRecord]:
    """The records of the flipped questions, one at a time: a results file may be large."""
    for _, _, record in elements(Path(path)):
        qid: Any = record.pop(KEY_COLUMN)
        if qid in flips:
            yield {**record, "qid": qid}  # type: ignore[typeddict-item]  # `compare` has checked the file


def _run_of(results: str) -> _Run:
    path = Path(results)
    beside = path.with_name(path.name.replace(RESULTS_ENDING, PROVENANCE_ENDING))
    stored: Provenance | None = read_provenance(str(beside)) if beside != path else None
    if stored is None:
        return _Run(str(path.parent), IMAGE_SETTINGS)
    return _Run(stored["dataset_path"], stored["settings"].get("images", IMAGE_SETTINGS))
