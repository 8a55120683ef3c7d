"""Draw the demo's images and write its questions: nothing of it was seen in training.

.venv/bin/python resources/demo/make_dataset.py resources/demo
"""

import argparse
import random
from itertools import cycle
from pathlib import Path

import pandas as pd
from PIL import Image
from shapes import ASPECTS, CATEGORIES, Scene, draw, question, random_scene

SEED = 20_26
IMAGES = 60
QUESTIONS_PER_CATEGORY = 30
EXIF_ORIENTATION, ROTATED_90 = 0x0112, 6
#: Suffix and the shorter sides in pixels; the uncompressed formats stay small for the repository's sake.
FORMATS = (
    ("jpg", (240, 320, 480, 640)),
    ("png", (96, 200, 300, 512)),
    ("webp", (128, 256, 480)),
    ("gif", (100, 160, 240)),
    ("bmp", (96, 112)),
    ("tiff", (96, 112)),
)


def save(image: Image.Image, path: Path, rotated: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if rotated:
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = ROTATED_90
        image.transpose(Image.Transpose.ROTATE_90).save(path, quality=90, exif=exif)
    elif path.suffix in (".jpg", ".webp"):
        image.save(path, quality=90)
    else:
        image.save(path)


def make_images(folder: Path, rng: random.Random) -> dict[str, Scene]:
    """Draw the images in subfolders by format; returns {relative path: scene}."""
    scenes = {}
    for number, (suffix, sides) in zip(range(IMAGES), cycle(FORMATS)):
        scene = random_scene(rng)
        name = f"{suffix}/scene_{number:02d}.{suffix}"
        image = draw(scene, rng, rng.choice(sides), rng.choice(ASPECTS))
        save(image, folder / name, rotated=suffix == "jpg" and number % 4 == 0)
        scenes[name] = scene
    (folder / "about.txt").write_text("Drawn by make_dataset.py. This file is no image and is skipped.\n")
    return scenes


def make_questions(scenes: dict[str, Scene], rng: random.Random) -> pd.DataFrame:
    names = {scene: name for name, scene in scenes.items()}
    pool = list(names)
    rows = []
    for category in CATEGORIES:
        for _ in range(QUESTIONS_PER_CATEGORY):
            asked = question(rng, category, lambda generator: generator.choice(pool))
            images = [names[scene] for scene in asked.scenes]
            rows.append(
                {
                    "qid": f"q{len(rows):03d}",
                    "question": asked.text,
                    "answer": asked.answer,
                    "image": images,
                    "category": category,
                    "source": "one image" if len(images) == 1 else "two images",
                }
            )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    rng = random.Random(SEED)
    scenes = make_images(folder / "images", rng)
    make_questions(scenes, rng).to_parquet(folder / "questions.parquet", index=False)
    truth = pd.DataFrame([{"image": name, **vars(scene)} for name, scene in sorted(scenes.items())])
    truth.to_csv(folder / "truth.csv", index=False)


if __name__ == "__main__":
    main()
