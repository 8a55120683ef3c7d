"""The results page: the time and peak memory of its job, its size, and how fast Chromium opens and filters it.

    PYTHONPATH=.:workflow .venv/bin/python -m bench.page                             10,000 questions on 2,000 images
    PYTHONPATH=.:workflow .venv/bin/python -m bench.page --contexts                  the same in five contexts
    PYTHONPATH=.:workflow .venv/bin/python -m bench.page --captions 1000000          a million captions

The answers are made up; no server is asked. `--folder` keeps the files, by default they are temporary.
"""

import argparse
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from captionqa.config.layout import Layout
from captionqa.files import write_json
from captionqa.page.results_page import write_page

from bench import ours
from bench.meter import measured
from bench.processes import OURS, figures_of, start

sys.path.append(str(ours.ROOT / "tests"))

SIZE_PX = (1600, 1200)
#: Of the size above; a file system may allow 65,000 links to one.
PICTURES = 20
CATEGORIES = ("shape", "colour", "counting", "comparison", "text", "position", "action", "scene")
CONTEXTS = ["image", "caption", "none", "gray"]
#: {a context: the share of right answers}; one question in fifty fails.
SHARES = {"qa": 0.85, "qa_caption_short": 0.55, "qa_caption_long": 0.72, "qa_none": 0.3, "qa_gray": 0.28}
FAILED = 0.02
SENTENCE = "a red bicycle leans on the wall of an old house and a small dog looks at it"
WORDS = SENTENCE.split()
#: How often a filter is measured; the median counts.
REPEATS = 5
#: What a person does, as JavaScript whose promise resolves when the list is shown.
FILTERS = {
    "a count": "page.setFilter({status: 'wrong'})",
    "a category": "page.setFilter({status: '', category: 'shape'})",
    "a search after the first": "page.setFilter({category: '', text: 'bicycle q00'})",
    "nothing": "page.clear()",
}
CONTEXT_FILTERS = {
    "a flip": "page.setFilter({right: '0', wrong: '1'})",
    "another context": "page.showColumn(page.view.column ? 0 : 1)",
}
#: Notes when the first card is there, by the clock that starts with the navigation.
NOTE_FIRST_CARD = """new MutationObserver((_, observer) => {
  if (!document.querySelector('article')) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.firstCardMs = performance.now(); }));
}).observe(document, {childList: true, subtree: true});"""


def make_pictures(folder: Path) -> list[Path]:
    """Different pictures; the images are links to them, of which the page does not know."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(PICTURES):
        made.append(folder / f"picture-{number}.jpg")
        noise = np.random.default_rng(number).integers(0, 255, (SIZE_PX[1] // 40, SIZE_PX[0] // 40, 3), np.uint8)
        Image.fromarray(noise).resize(SIZE_PX).save(made[-1], quality=85)
    return made


def prepare_questions(folder: Path, questions: int, images: int, contexts: bool) -> None:
    """Write images, questions and the answers of a finished run into a folder."""
    import pandas as pd
    from finished_run import finish_run

    pictures = make_pictures(folder)
    (folder / "images").mkdir()
    for number in range(images):
        os.link(pictures[number % PICTURES], folder / "images" / f"{number:05}.jpg")
    rows = {
        "qid": [f"q{number:05}" for number in range(questions)],
        "question": [f"What is to be seen in part {number % 9}?\nA. a dog\nB. a wall" for number in range(questions)],
        "answer": [rf"\boxed{{{'AB'[number % 2]}}}" for number in range(questions)],
        "image": [f"{number % images:05}.jpg" for number in range(questions)],
        "category": [CATEGORIES[number % len(CATEGORIES)] for number in range(questions)],
    }
    pd.DataFrame(rows).to_parquet(folder / "questions.parquet")
    raw = ours.configuration(folder, folder / "images", "http://127.0.0.1:9", "bench", 64, chunks=20)
    raw["captions"]["prompt_styles"] = ["SHORT", "LONG"]
    raw["qa"] = {"question_path": str(folder / "questions.parquet"), "dataset_path": str(folder / "images")}
    raw["qa"] |= {"contexts": CONTEXTS} if contexts else {}
    ours.save(folder, raw)
    finish_run(ours.load(folder)[0], _answer)


def _answer(work: str, entry: dict[str, Any]) -> object:
    chance = random.Random(f"{work} {entry['id']}")
    if work in ("short", "long"):
        return " ".join(chance.choices(WORDS, k=12 if work == "short" else 120))
    if chance.random() < FAILED:
        return {"failure": "server_error", "detail": "the server answered 500"}
    letter = "AB"[int(entry["id"][1:]) % 2]
    if chance.random() > SHARES[work]:
        letter = "B" if letter == "A" else "A"
    return f"{' '.join(chance.choices(WORDS, k=25))}. The answer is {letter}."


def prepare_captions(folder: Path, images: int) -> None:
    """Write very many images and the captions of a finished run into a folder."""
    from finished_run import finish_run

    pictures = make_pictures(folder)
    for number in range(images):
        path = folder / "images" / f"{number // 1000:04}" / f"{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(pictures[number % PICTURES], path)
    ours.save(folder, ours.configuration(folder, folder / "images", "http://127.0.0.1:9", "bench", 64, chunks=500))
    finish_run(ours.load(folder)[0], _caption)


def _caption(work: str, entry: dict[str, Any]) -> object:
    if hashlib.blake2b(entry["id"].encode(), digest_size=1).digest()[0] < 3:
        return {"failure": "timeout", "detail": "no answer within 600 s"}
    return f"{SENTENCE} in {entry['id']}"


def measure_browser(page: Path, contexts: bool) -> dict[str, float]:
    """Seconds until Chromium shows the first card, and until it shows what filters leave."""
    from browser import Tab

    figures = {}
    with tempfile.TemporaryDirectory() as browser, Tab(Path(browser)) as tab:
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=NOTE_FIRST_CARD)
        opened = []
        for _ in range(REPEATS):
            tab.open(page.as_uri())
            tab.wait("window.firstCardMs !== undefined")
            opened.append(tab.run("window.firstCardMs") / 1000)
            tab.call("Page.navigate", url="about:blank")
        figures["opens"] = statistics.median(opened)
        tab.open(page.as_uri())
        if tab.run("page.view.name") == "questions":
            figures["the first search"] = _acted(tab, "page.setFilter({text: 'bicycle'})")
            chosen = FILTERS | (CONTEXT_FILTERS if contexts else {})
        else:
            chosen = {"a count": "page.setFilter({status: 'failed'})", "nothing": "page.clear()"}
        for name, action in chosen.items():
            figures[name] = statistics.median(_acted(tab, action) for _ in range(REPEATS))
    return figures


def _acted(tab: Any, action: str) -> float:
    """Seconds from an action until its result is drawn."""
    drawn = "await new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
    timed = f"const start = performance.now(); await {action}; {drawn}; return performance.now() - start;"
    return float(tab.run(f"(async () => {{ {timed} }})()")) / 1000


def job(folder: Path) -> None:
    """Write the page in this process, which prints its figures."""
    config, _ = ours.load(folder)
    with measured():
        write_page(config, Layout(config.output_dir, "bench"))


def measure(folder: Path, options: argparse.Namespace) -> None:
    if options.captions:
        prepare_captions(folder, options.captions)
    else:
        prepare_questions(folder, options.questions, options.images, options.contexts)
    command = [OURS, "-m", "bench.page", "--job", "--folder", str(folder)]
    figures: dict[str, Any] = {}
    for name in ("first", "again"):  # the second has the thumbnails
        spent = figures_of(start(command))
        figures |= {f"job, {name}, s": spent["wall_s"], f"job, {name}, CPU s": spent["cpu_s"], "MB": spent["peak_mb"]}
    config, _ = ours.load(folder)
    page = Path(Layout(config.output_dir, "bench").page)
    figures["folder MB"] = sum(path.stat().st_size for path in page.parent.rglob("*") if path.is_file()) / 1e6
    figures |= measure_browser(page, options.contexts)
    write_json(folder / "figures.json", figures)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--contexts", action="store_true", help="ask in five contexts")
    parser.add_argument("--captions", type=int, default=0, help="captions of so many images in place of questions")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--job", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job(options.folder)
    elif options.folder:
        measure(options.folder, options)
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), options)


if __name__ == "__main__":
    main()
