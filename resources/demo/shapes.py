"""The demo's little world: one drawn shape on a plain background, and what can be said and asked of it.

The training script draws endless pictures from it; the data-set script draws the bundled images with another seed, at
other sizes and in other formats. Everything is a pure function of the random generator given.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

COLORS = {
    "red": (220, 30, 30),
    "green": (30, 170, 60),
    "blue": (40, 70, 220),
    "yellow": (240, 210, 40),
    "black": (20, 20, 20),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle")
#: Width and height in units of the shorter side; the processor maps each to a different patch grid.
ASPECTS = ((1.0, 1.0), (4 / 3, 1.0), (1.0, 4 / 3), (5 / 3, 1.0))
PROMPTS = {
    "SIMPLE": "Describe this image in detail.",
    "SHORT": "Write a very short caption for the given image.",
    "LONG": "Write a very long and detailed caption describing the given image as comprehensively as possible.",
}
CATEGORIES = ("shape", "shape color", "background color", "comparison", "counting")
IMAGE_MARK = "<image>"


@dataclass(frozen=True)
class Scene:
    """A shape and the colours of it and of its background."""

    shape: str
    color: str
    background: str


@dataclass(frozen=True)
class Question:
    """A question on one or two scenes; `answer` is the ground truth, `reply` what the model is taught to say."""

    scenes: tuple[Scene, ...]
    category: str
    text: str
    answer: str
    reply: str


def random_scene(rng: random.Random) -> Scene:
    color, background = rng.sample(list(COLORS), 2)
    return Scene(rng.choice(SHAPES), color, background)


def draw(scene: Scene, rng: random.Random, short_side_px: int, aspect: tuple[float, float]) -> Image.Image:
    """Draw a scene at a random place and size, its colours a little off their pure values."""
    width, height = (round(side * short_side_px) for side in aspect)

    def tint(name: str) -> tuple[int, ...]:
        return tuple(min(255, max(0, value + rng.randint(-10, 10))) for value in COLORS[name])

    image = Image.new("RGB", (width, height), tint(scene.background))
    radius = round(rng.uniform(0.24, 0.36) * short_side_px)
    margin = radius + max(2, short_side_px // 40)
    x, y = rng.randint(margin, width - margin), rng.randint(margin, height - margin)
    pen, fill = ImageDraw.Draw(image), tint(scene.color)
    if scene.shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
    elif scene.shape == "square":
        pen.rectangle((x - radius, y - radius, x + radius, y + radius), fill=fill)
    else:
        pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=fill)
    return image


def caption(scene: Scene, style: str) -> str:
    shape, color, background = scene.shape, scene.color, scene.background
    if style == "SIMPLE":
        return f"A {color} {shape} on a {background} background."
    if style == "SHORT":
        return f"{color.capitalize()} {shape}."
    return (
        f"The image shows a {color} {shape} placed on a {background} background. The shape is a {shape}, "
        f"its color is {color}, and everything around it is {background}."
    )


def with_captions(asked: Question, style: str) -> str:
    """The question as captionqa asks it with captions: each in the place of its image, or on a line before the text."""
    texts = [f"[Image: {caption(scene, style)}]" for scene in asked.scenes]
    if IMAGE_MARK not in asked.text:
        return "\n".join([*texts, asked.text])
    text = asked.text
    for each in texts:
        text = text.replace(IMAGE_MARK, each, 1)
    return text


def without_images(asked: Question) -> str:
    """The question as captionqa asks it with nothing in place of its images."""
    return asked.text.replace(IMAGE_MARK, "").strip()


def _lines(options: Sequence[str]) -> str:
    return "\n".join(f"{letter}. {option}" for letter, option in zip("ABC", options, strict=False))


def question(rng: random.Random, category: str, new_scene: Callable[[random.Random], Scene] = random_scene) -> Question:
    """A random question of a category with the scenes that it is about, which come from `new_scene`.

    The options of colours are in random order and the model boxes the colour itself: looking a letter up in a list
    takes a small model hours to learn. Where the order is fixed it answers with the letter.
    """
    if category == "shape":
        scene = new_scene(rng)
        letter = "ABC"[SHAPES.index(scene.shape)]
        text = f"What shape is shown?\n{_lines(SHAPES)}"
        return Question((scene,), category, text, f"\\boxed{{{letter}}}", f"A {scene.shape}. The answer is {letter}.")
    if category in ("shape color", "background color"):
        scene = new_scene(rng)
        thing, color = ("shape", scene.color) if category == "shape color" else ("background", scene.background)
        options = [*rng.sample([other for other in COLORS if other != color], 2), color]
        rng.shuffle(options)
        text = f"What color is the {thing}?\n{_lines(options)}"
        answer = f"\\boxed{{{'ABC'[options.index(color)]}}}"
        return Question((scene,), category, text, answer, f"The {thing} is \\boxed{{{color}}}.")

    first, second = new_scene(rng), new_scene(rng)
    if rng.random() < 0.4:
        while second.shape != first.shape:
            second = new_scene(rng)
    seen = f"A {first.shape} and a {second.shape}"
    marks = rng.choice(("", f"First image: {IMAGE_MARK}\nSecond image: {IMAGE_MARK}\n"))
    if category == "comparison":
        options = ("same", "different")
        answer = "same" if first.shape == second.shape else "different"
        letter = "AB"[options.index(answer)]
        text = f"{marks}Are the shapes in the two images the same or different?\n{_lines(options)}"
        return Question((first, second), category, text, f"\\boxed{{{letter}}}", f"{seen}: \\boxed{{{letter}}}.")
    wanted = rng.choice((first.shape, second.shape, rng.choice(SHAPES)))
    count = (first.shape == wanted) + (second.shape == wanted)
    text = f"{marks}How many of the two images show a {wanted}?"
    return Question((first, second), category, text, f"\\boxed{{{count}}}", f"{seen}: \\boxed{{{count}}}.")
