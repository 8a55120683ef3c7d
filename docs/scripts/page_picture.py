"""Make docs/page.png: the results page of the demo's data and of the photographs that scikit-image ships, in Chromium.

    .venv/bin/python docs/scripts/page_picture.py [--contexts] [FILE.png] [FOLDER]

--contexts makes docs/contexts.png, in which the questions were asked in several contexts. The answers are written here,
some of them wrong, so that the picture shows what the page does with them; no model gave them. FOLDER keeps the page;
by default it is a temporary one. Needs the test environment (`make setup`) and Chromium.
"""

import random
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd
import skimage

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT / "workflow"), str(CHECKOUT / "tests")]

from browser import Tab  # noqa: E402
from captionqa.config.check import check, read_schema  # noqa: E402
from captionqa.config.config import Config  # noqa: E402
from captionqa.driver.phases import PHASES  # noqa: E402
from captionqa.files import json_line, write_json  # noqa: E402
from captionqa.page.results_page import write_page  # noqa: E402
from captionqa.page.run_end import page_after_run  # noqa: E402
from finished_run import finish_run  # noqa: E402

WIDTH_PX, HEIGHT_PX = 1280, 1240
#: With contexts a card begins further down.
CONTEXTS_HEIGHT_PX = 1970
DEMO_QUESTIONS = 90
#: {photograph: [(question, choices, right letter, output)]}.
PHOTOGRAPHS = {
    "coffee.png": [
        ("What is on the saucer beside the cup?", ("a fork", "a spoon", "a biscuit"), "B",
         "The saucer holds a metal object with a long handle, which I take for a fork. The answer is A."),
        ("What is in the cup?", ("tea", "milk", "espresso"), "C", "A dark drink with foam: espresso. \\boxed{C}"),
    ],
    "chelsea.png": [
        ("Which animal is shown?", ("a cat", "a fox", "a dog"), "A", "A ginger cat looks at the camera. \\boxed{A}"),
        ("Which colour are its eyes?", ("blue", "brown", "green"), "C", "The eyes are green. \\boxed{C}"),
    ],
    "astronaut.png": [
        ("Whose flag is on the left?", ("of France", "of the United States", "of Japan"), "B", "\\boxed{B}"),
        ("What is the model behind her?", ("a space shuttle", "an aeroplane", "a rocket engine"), "A",
         "It may be a space shuttle or an aeroplane."),
    ],
    "rocket.jpg": [("When was it taken?", ("at noon", "at dusk or dawn"), "B", "The sky is dark blue: B.")],
    "motorcycle_left.png": [("How many wheels can be seen in full?", ("one", "two", "four"), "B", "Two. \\boxed{B}")],
    "camera.png": [("What does the man look through?", ("binoculars", "a camera"), "B", "A camera. \\boxed{B}")],
    "hubble_deep_field.jpg": [("What are the bright spots?", ("galaxies", "planes"), "A", "Galaxies. \\boxed{A}")],
}  # fmt: skip
CAPTIONS = {
    "coffee.png": "An espresso in a white cup on a saucer, with a spoon beside it, on a wooden table.",
    "chelsea.png": "A close-up of a ginger tabby cat with green eyes that looks towards the camera.",
    "astronaut.png": "An astronaut in an orange suit smiles in front of the flag of the United States and a model of a "
    "space shuttle.",
    "rocket.jpg": "A rocket stands lit on its launch pad between four towers, under a dark blue sky.",
    "motorcycle_left.png": "A red and black motorcycle in a garage, with shelves and tools behind it.",
    "camera.png": "A man in a dark coat stands on grass and looks through a camera on a tripod; buildings behind.",
    "hubble_deep_field.jpg": "Hundreds of galaxies of many shapes and colours before a black sky.",
}
#: {category of the demo's questions: the share of right answers}.
SHARES = {"shape": 0.83, "shape color": 0.94, "background color": 1.0, "comparison": 0.72, "counting": 0.9}


#: {context: the share of its answers that are those of the image}.
CONTEXT_SHARES = {"qa": 1.0, "qa_caption_simple": 0.85, "qa_caption_short": 0.6, "qa_none": 0.15}


def main(picture: Path, folder: Path, contexts: bool = False) -> None:
    config = prepare(folder, contexts)
    layout = finish_run(config, Answers(folder), begin_s=1_764_374_400.0, chunk_s=95.0)
    write_load(layout)
    write_page(config, layout)
    write_json(layout.verdict, VERDICT)
    page = Path(page_after_run(config, layout, 0.0, True, PHASES).path)
    with Tab(folder / "browser", WIDTH_PX, CONTEXTS_HEIGHT_PX if contexts else HEIGHT_PX) as tab:
        tab.open(page.as_uri())
        if contexts:  # what cannot be guessed
            tab.run("page.setFilter({ right: '0', wrong: '3' })")
        shown = 1 if contexts else 3
        tab.wait(f"[...document.querySelectorAll('article img')].slice(0, {shown}).every(image => image.complete)")
        tab.screenshot(picture)


VERDICT = {
    "phases": {"planning": 1.1, "start": 73.0, "first_client": 1.2, "asking": 142.0, "merging": 4.0, "page": 1.2},
    "evidence": "requests waited in the server's queue in 71 % of 28 samples: the server is the limit",
    "advice": "more servers (server.replicas) would help, more clients would not",
}


def prepare(folder: Path, contexts: bool) -> Config:
    """The images, the questions and the configuration."""
    images = folder / "images"
    shutil.copytree(CHECKOUT / "resources" / "demo" / "images", images)
    (images / "photographs").mkdir()
    for name in PHOTOGRAPHS:
        shutil.copy(Path(skimage.__file__).parent / "data" / name, images / "photographs")
    questions = pd.read_parquet(CHECKOUT / "resources" / "demo" / "questions.parquet")
    questions = questions.sample(DEMO_QUESTIONS, random_state=1)[["qid", "question", "answer", "image", "category"]]
    asked = [
        (f"photo{number:02}", photograph, *question)
        for number, (photograph, question) in enumerate((p, q) for p, asked in PHOTOGRAPHS.items() for q in asked)
    ]
    rows = [
        {
            "qid": qid,
            "question": "\n".join(
                [text, *(f"{letter}. {choice}" for letter, choice in zip("ABC", choices, strict=False))]
            ),
            "answer": f"\\boxed{{{truth}}}",
            "image": [f"photographs/{photograph}"],
            "category": "photograph",
        }
        for qid, photograph, text, choices, truth, _ in asked
    ]
    pd.concat([pd.DataFrame(rows), questions]).to_parquet(folder / "questions.parquet")
    raw = {
        "output_dir": str(folder / "output"),
        "models": {"my-vision-model": {"path": "org/my-vision-model"}},
        "captions": {"dataset_path": str(images), "prompt_styles": ["SIMPLE", "SHORT"]},
        "qa": {"question_path": str(folder / "questions.parquet"), "dataset_path": str(images)},
    }
    if contexts:
        raw["qa"]["contexts"] = ["image", "caption", "none"]
    return check(raw, read_schema())


class Answers:
    """What the model of the picture says."""

    def __init__(self, folder: Path):
        questions = pd.read_parquet(folder / "questions.parquet")
        self._questions = {row.qid: row for row in questions.itertuples()}
        self._written = [output for asked in PHOTOGRAPHS.values() for _, _, _, output in asked]
        truth = pd.read_csv(CHECKOUT / "resources" / "demo" / "truth.csv")
        self._drawn = {
            row.image: f"A {row.color} {row.shape} on a {row.background} background" for row in truth.itertuples()
        }

    def __call__(self, work: str, entry: dict) -> object:
        name = entry["id"]
        if work.startswith("qa"):
            in_context = random.Random(name + work)
            if in_context.random() < CONTEXT_SHARES[work]:
                return self._answer(name)
            return f"The answer is {in_context.choice('AB')}."
        caption = CAPTIONS.get(Path(name).name) or f"{self._drawn[name]}. Nothing else is in the picture."
        return caption if work == "simple" else self._drawn.get(name) or caption.split(",")[0].split(" with ")[0]

    def _answer(self, qid: str) -> object:
        if qid.startswith("photo"):
            return self._written[int(qid.removeprefix("photo"))]
        question, random_of_it = self._questions[qid], random.Random(qid)
        letter = question.answer[-2]
        if random_of_it.random() > SHARES[question.category]:
            letter = "B" if letter == "A" else "A"
        return f"The answer is {letter}."


def write_load(layout) -> None:
    """A load log as a supervisor writes it."""
    log, chance, tokens = layout.server_files.load_log(0), random.Random(1), 0.0
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as file:
        file.write(json_line("request"))
        for second in range(0, 142, 5):
            waiting = max(0.0, chance.gauss(9, 5) if 10 < second < 120 else 0.0)
            tokens += 5 * chance.gauss(2900, 350)
            sample = {"time": 1_764_374_400.0 + second, "requests": 32 + waiting, "tokens": tokens, "waiting": waiting}
            file.write(json_line({**sample, "cache_used": 0.5, "preemptions": 0}))


if __name__ == "__main__":
    given = [text for text in sys.argv[1:] if text != "--contexts"]
    with_contexts = len(given) < len(sys.argv) - 1
    target = Path(given[0]) if given else CHECKOUT / "docs" / ("contexts.png" if with_contexts else "page.png")
    if len(given) > 1:
        main(target, Path(given[1]), with_contexts)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(target, Path(temporary), with_contexts)
