"""Teach the demo model easy-VQA beside the shapes that it knows: the second stage of its training.

    .venv-vllm/bin/python resources/demo/teach_easy_vqa.py FIRST .easy-vqa/train resources/demo/model

FIRST is what train_model.py made. easy-VQA is github.com/vzhou842/easy-VQA (MIT license); only its training split is
read, and the last 400 of its images are kept back for validation. The tokenizer learns the new words first. Then the
whole model learns questions of both worlds, while two heads that are not kept lead the vision tower to the shape and
its colour. Takes about 20 minutes on one core. Seeded.
"""

import argparse
import copy
import json
import random
import re
import shutil
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image, ImageChops, ImageOps
from shapes import IMAGE_MARK
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from train_model import WIDTH, cosine, demo_batch, text_batch
from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor

#: What the preset easy_vqa of captionqa asks.
INSTRUCTION = "Answer the question using a single word or phrase."
EASY_SHAPES = ("circle", "rectangle", "triangle")
EASY_COLORS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
VALIDATION_IMAGES = 400
UNKNOWN = -100


def names_what_is_there(question: str, answer: str) -> bool:
    """Whether a question of yes or no names a shape or colour that the image has."""
    return answer in ("yes", "no") and (answer == "yes") != bool(re.search(r"\b(no|not)\b", question))


class EasyVqa:
    """A split of easy-VQA: images, the questions on each, and what these tell of its shape and colour."""

    def __init__(self, folder: Path) -> None:
        self.questions: dict[int, list[tuple[str, str]]] = {}
        for question, answer, number in json.loads((folder / "questions.json").read_text()):
            self.questions.setdefault(number, []).append((question, answer))
        self.numbers = sorted(self.questions)
        self.images = {number: Image.open(folder / f"images/{number}.png").convert("RGB") for number in self.numbers}
        self.truth = {
            number: (self._seen(number, EASY_SHAPES), self._seen(number, EASY_COLORS)) for number in self.numbers
        }

    def question(self, number: int, rng: random.Random) -> tuple[str, str]:
        """A question on an image: in two of five cases one that names what is there.

        Only one in eight of the questions on a colour names the image's own. A model that never compares is right in
        the other seven, and stays there.
        """
        asked = self.questions[number]
        named = [(question, answer) for question, answer in asked if names_what_is_there(question, answer)]
        return rng.choice(named if named and rng.random() < 0.4 else asked)

    def _seen(self, number: int, names: tuple[str, ...]) -> int:
        """The index of the name that the questions say is in the image; UNKNOWN if none says so."""
        for question, answer in self.questions[number]:
            if answer in names:
                return names.index(answer)
            named = [index for index, name in enumerate(names) if re.search(rf"\b{name}\b", question)]
            if named and answer not in ("yes", "no"):
                return named[0]
            if named and names_what_is_there(question, answer):
                return named[0]
        return UNKNOWN


def learn_words(tokenizer, model, texts: list[str]) -> None:
    """Go on with the tokenizer's training on the words of `texts`: merges at the end, which leave the known ones alone.

    A new token starts with the mean of the embeddings of its two parts.
    """
    backend = tokenizer.backend_tokenizer
    state = json.loads(backend.to_str())
    vocabulary, merges = state["model"]["vocab"], state["model"]["merges"]
    words = Counter(word for text in texts for word, _ in backend.pre_tokenizer.pre_tokenize_str(text))
    parts = {word: [token.value for token in backend.model.tokenize(word)] for word in words}
    embeddings = [*model.get_input_embeddings().weight.detach()]
    while True:
        pairs = Counter(pair for word, split in parts.items() for pair in pairwise(split) for _ in range(words[word]))
        if not pairs:
            break
        (first, second), _ = min(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
        if first + second not in vocabulary:
            embeddings.append((embeddings[vocabulary[first]] + embeddings[vocabulary[second]]) / 2)
            vocabulary[first + second] = len(vocabulary)
        merges.append([first, second])
        parts = {word: merged(split, first, second) for word, split in parts.items()}
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))
    model.resize_token_embeddings(len(vocabulary))
    model.get_input_embeddings().weight.data.copy_(torch.stack(embeddings))


def merged(parts: list[str], first: str, second: str) -> list[str]:
    joined, index = [], 0
    while index < len(parts):
        both = parts[index : index + 2] == [first, second]
        joined.append(first + second if both else parts[index])
        index += 1 + both
    return joined


def moved(image: Image.Image, rng: random.Random) -> Image.Image:
    """The image with its shape at another place of the plain background, and mirrored half of the time."""
    background = max(image.getcolors(image.width * image.height))[1]
    plain = Image.new("RGB", image.size, background)
    box = ImageChops.difference(image, plain).getbbox()
    shape = image.crop(box)
    if rng.random() < 0.5:
        shape = ImageOps.mirror(shape)
    plain.paste(shape, (rng.randint(0, image.width - shape.width), rng.randint(0, image.height - shape.height)))
    return plain


def easy_batch(rng, processor, easy: EasyVqa, chosen: list[int], questions: int) -> dict[str, torch.Tensor]:
    """Tensors of several questions about each chosen image, as if each stood alone behind the image.

    The image is read once for all of its questions: they see it and themselves, not each other, and begin at the same
    position.
    """
    tokenizer = processor.tokenizer
    pixels = processor.image_processor(images=[moved(easy.images[n], rng) for n in chosen], return_tensors="pt")
    image_token, image_end = tokenizer.convert_tokens_to_ids(["<|image_pad|>", "<|vision_end|>"])
    start = tokenizer("<|im_start|>user\n<|vision_start|>")["input_ids"]
    first, side = len(start), int(pixels["image_grid_thw"][0][1]) // 2
    before = [*start, *[image_token] * side * side, image_end]
    # Qwen's positions: an image takes as many as it has rows, its tokens share the first and count rows and columns
    grid = torch.cartesian_prod(torch.tensor([0]), torch.arange(side), torch.arange(side)).T + first
    places = torch.cat([torch.arange(first).expand(3, -1), grid, torch.full((3, 1), first + side)], 1)
    rows = []
    for number in chosen:
        ids, labels, blocks, positions = [*before], [UNKNOWN] * len(before), [0] * len(before), [places]
        for block in range(1, questions + 1):
            question, answer = easy.question(number, rng)
            asked = tokenizer(f"{question}\n{INSTRUCTION}<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
            reply = tokenizer(f"{answer}<|im_end|>")["input_ids"]
            length = len(asked) + len(reply)
            ids += asked + reply
            labels += [UNKNOWN] * len(asked) + reply
            blocks += [block] * length
            positions.append(torch.arange(length).expand(3, -1) + first + side + 1)
        rows.append((ids, labels, blocks, torch.cat(positions, 1)))
    size, length = len(rows), max(len(ids) for ids, *_ in rows)
    input_ids, wanted = torch.full((size, length), tokenizer.pad_token_id), torch.full((size, length), UNKNOWN)
    block_of, position_ids = torch.full((size, length), questions + 1), torch.zeros(3, size, length, dtype=torch.long)
    for row, (ids, labels, blocks, positions) in enumerate(rows):
        end = len(ids)
        input_ids[row, :end], wanted[row, :end] = torch.tensor(ids), torch.tensor(labels)
        block_of[row, :end], position_ids[:, row, :end] = torch.tensor(blocks), positions
    seen = ((block_of[:, :, None] == block_of[:, None, :]) | (block_of[:, None, :] == 0)).tril()
    hidden = torch.zeros(size, 1, length, length).masked_fill(~seen[:, None], torch.finfo(torch.float32).min)
    return {
        "input_ids": input_ids,
        "attention_mask": hidden,
        "position_ids": position_ids,
        "labels": wanted,
        "pixel_values": pixels["pixel_values"],
        "image_grid_thw": pixels["image_grid_thw"],
        "mm_token_type_ids": (input_ids == image_token).long(),
    }


class Guide:
    """Two heads on the mean of an image's visual tokens that tell its shape and colour: they lead the vision tower."""

    def __init__(self, vision) -> None:
        self.heads = torch.nn.ModuleList(torch.nn.Linear(WIDTH, len(names)) for names in (EASY_SHAPES, EASY_COLORS))
        vision.register_forward_hook(lambda module, inputs, output: setattr(self, "tokens", output.pooler_output))

    def loss(self, truth: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
        """The loss on the images that the model has just seen, and the shares of right shapes and colours."""
        pooled = self.tokens.reshape(len(truth), -1, WIDTH).mean(1)
        logits = [head(pooled) for head in self.heads]
        told = list(zip(logits, truth.T, strict=True))
        right = [round(float((logit.argmax(-1) == known).float().mean()), 2) for logit, known in told]
        return sum(cross_entropy(logit, known, ignore_index=UNKNOWN) for logit, known in told), right


def answered(out, labels) -> float:
    """The share of tokens of replies that are right."""
    wanted = labels[:, 1:]
    return float((out.logits[:, :-1].argmax(-1) == wanted)[wanted != UNKNOWN].float().mean())


def exact(out, labels) -> float:
    """The share of replies that are right in each token."""
    wanted = labels[:, 1:]
    return float(((out.logits[:, :-1].argmax(-1) == wanted) | (wanted == UNKNOWN)).all(1).float().mean())


def teach(model, processor, rng, easy: EasyVqa, numbers, kept, args, save) -> None:
    guide = Guide(model.model.visual)
    model.model.visual.requires_grad_(not args.freeze_vision)
    parameters = [*model.parameters(), *guide.heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=0.01, betas=(0.9, 0.98))
    started = time.time()
    last = (args.stop or args.steps) - 1
    for step in range(last + 1):
        for group in optimizer.param_groups:
            group["lr"] = args.rate * cosine(step, args.steps)
        known = demo_batch(rng, args.batch // 2, processor, questions=True)
        chosen = [rng.choice(numbers) for _ in range(args.batch)]
        new = easy_batch(rng, processor, easy, chosen, args.questions)
        outs = [model(**inputs) for inputs in (known, new)]
        losses = [out.loss for out in outs]
        guide_loss, right = guide.loss(torch.tensor([easy.truth[number] for number in chosen]))
        optimizer.zero_grad()
        (sum(losses) + 0.5 * guide_loss).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 25 == 0:
            right += [round(answered(out, inputs["labels"]), 2) for out, inputs in zip(outs, (known, new), strict=True)]
            losses = [round(loss.item(), 4) for loss in losses]
            print(f"{step}: losses {losses}, right {right}, {time.time() - started:.0f} s", flush=True)
        if step % 100 == 99 or step == last:
            print(f"{step}: {validate(model, processor, easy, kept):.4f} on the images kept back", flush=True)
            save()


@torch.no_grad()
def validate(model, processor, easy: EasyVqa, numbers) -> float:
    """The share of right answers to every fifth question on each of these images."""
    asked = [(number, *question) for number in numbers for question in easy.questions[number][::5]]
    right = 0.0
    for start in range(0, len(asked), 128):
        part = asked[start : start + 128]
        rows = [(f"{IMAGE_MARK}{question}\n{INSTRUCTION}", answer) for _, question, answer in part]
        inputs = text_batch(processor, [easy.images[number] for number, *_ in part], rows)
        right += exact(model(**inputs), inputs["labels"]) * len(part)
    return right / len(asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="what train_model.py made")
    parser.add_argument("train", type=Path, help="the folder of easy-VQA's training split")
    parser.add_argument("folder", type=Path, help="where the model goes; may be the same")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--stop", type=int, help="end after this many of the steps, the learning rate still high")
    parser.add_argument("--freeze-vision", action="store_true", help="train the words alone")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=16, help="images of easy-VQA a step; half as many demo prompts")
    parser.add_argument("--questions", type=int, default=6, help="about each image of easy-VQA in a step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)

    if args.folder != args.model:
        shutil.copytree(args.model, args.folder, dirs_exist_ok=True)
    model = Qwen3VLForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    processor = Qwen3VLProcessor.from_pretrained(args.model)
    easy = EasyVqa(args.train)
    numbers, kept = easy.numbers[:-VALIDATION_IMAGES], easy.numbers[-VALIDATION_IMAGES:]
    unknown = sum(UNKNOWN in easy.truth[number] for number in numbers)
    print(f"{len(numbers)} images for training, {unknown} of an unknown shape or colour", flush=True)

    def save() -> None:
        small = copy.deepcopy(model).to(torch.bfloat16)
        for part in (small.config.text_config, small.config.vision_config):
            part.dtype = None  # else it says what was loaded for training
        small.save_pretrained(args.folder)

    texts = {question for number in numbers for asked in easy.questions[number] for question in asked}
    learn_words(processor.tokenizer, model, [*sorted(texts), INSTRUCTION])
    print(f"{len(processor.tokenizer)} tokens", flush=True)
    processor.save_pretrained(args.folder)

    teach(model, processor, rng, easy, numbers, kept, args, save)


if __name__ == "__main__":
    main()
