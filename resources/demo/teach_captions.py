"""Teach the demo model to answer from captions, and without a picture: the third stage of its training.

    .venv-vllm/bin/python resources/demo/teach_captions.py MODEL .easy-vqa/train resources/demo/model

MODEL is what teach_easy_vqa.py made. The vision tower stays as it is. Questions of the demo's world come with captions
in place of their images, in the words in which captionqa asks, in all three styles; without anything; and with gray
pictures. In the last two the true answer is of a scene that the model cannot see, so it learns what is most often
right. Captions and questions on pictures of both worlds are mixed in, so that nothing is forgotten. Seeded; a run that
was ended goes on from its last hundred steps when it is started again.
"""

import argparse
import copy
import random
import shutil
import time
from pathlib import Path

import torch
from PIL import Image
from shapes import CATEGORIES, IMAGE_MARK, PROMPTS, question, with_captions, without_images
from teach_easy_vqa import INSTRUCTION, VALIDATION_IMAGES, EasyVqa, easy_batch, exact, validate
from train_model import cosine, demo_batch, text_batch
from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor

GRAY = (128, 128, 128)
SAVE_EVERY = 100


def caption_rows(rng, size: int, style: str | None = None) -> list[tuple[str, str]]:
    """Questions (prompt, reply) with captions of a style, or of any, in place of their images."""
    rows = []
    for _ in range(size):
        asked = question(rng, rng.choice(CATEGORIES))
        rows.append((with_captions(asked, style or rng.choice(list(PROMPTS))), asked.reply))
    return rows


def blind_rows(rng, easy: EasyVqa, numbers: list[int], size: int) -> list[tuple[str, str]]:
    """Questions (prompt, reply) with nothing in place of their images, a quarter of them of easy-VQA."""
    rows = []
    for _ in range(size):
        if rng.random() < 0.25:
            text, reply = rng.choice(easy.questions[rng.choice(numbers)])
            rows.append((f"{text}\n{INSTRUCTION}", reply))
        else:
            asked = question(rng, rng.choice(CATEGORIES))
            rows.append((without_images(asked), asked.reply))
    return rows


def gray_batch(rng, processor, easy: EasyVqa, numbers: list[int], size: int) -> dict[str, torch.Tensor]:
    """Tensors of questions with gray pictures of one size, a quarter of them of easy-VQA."""
    side, aspect = rng.randint(32, 256), rng.uniform(1 / 2, 2)
    picture = Image.new("RGB", (side, round(side * aspect)), GRAY)
    rows = []
    for _ in range(size):
        if rng.random() < 0.25:
            text, reply = rng.choice(easy.questions[rng.choice(numbers)])
            rows.append((f"{IMAGE_MARK}{text}\n{INSTRUCTION}", reply))
        else:
            asked = question(rng, rng.choice(CATEGORIES))
            marked = asked.text if IMAGE_MARK in asked.text else IMAGE_MARK * len(asked.scenes) + asked.text
            rows.append((marked, asked.reply))
    return text_batch(processor, [picture] * sum(text.count(IMAGE_MARK) for text, _ in rows), rows)


@torch.no_grad()
def check(model, processor) -> dict[str, float]:
    """The shares of exact replies to 96 questions with pictures and, for each style, with captions: always the same."""
    rng = random.Random(-1)
    batches = {"pictures": demo_batch(rng, 96, processor, questions=True)}
    batches |= {style: text_batch(processor, [], caption_rows(rng, 96, style)) for style in PROMPTS}
    return {name: round(exact(model(**inputs), inputs["labels"]), 3) for name, inputs in batches.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="what teach_easy_vqa.py made")
    parser.add_argument("train", type=Path, help="the folder of easy-VQA's training split")
    parser.add_argument("folder", type=Path, help="where the model goes; may be the same")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=48, help="questions with captions a step; others in proportion")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    if args.folder != args.model:
        shutil.copytree(args.model, args.folder, dirs_exist_ok=True)
    model = Qwen3VLForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    processor = Qwen3VLProcessor.from_pretrained(args.model)
    easy = EasyVqa(args.train)
    numbers, kept = easy.numbers[:-VALIDATION_IMAGES], easy.numbers[-VALIDATION_IMAGES:]
    model.model.visual.requires_grad_(False)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=0.01, betas=(0.9, 0.98))
    first, state = 0, args.folder / "training.pt"
    if state.exists():
        saved = torch.load(state)
        first = saved["step"]
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
    rng = random.Random(f"{args.seed} {first}")

    started = time.time()
    for step in range(first, args.steps):
        for group in optimizer.param_groups:
            group["lr"] = args.rate * cosine(step, args.steps)
        chosen = [rng.choice(numbers) for _ in range(args.batch // 6)]
        batches = {
            "captions": text_batch(processor, [], caption_rows(rng, args.batch)),
            "nothing": text_batch(processor, [], blind_rows(rng, easy, numbers, args.batch // 4)),
            "gray": gray_batch(rng, processor, easy, numbers, args.batch // 8),
            "pictures": demo_batch(rng, args.batch // 4, processor, questions=True),
            "easy-VQA": easy_batch(rng, processor, easy, chosen, 6),
        }
        losses = {}
        optimizer.zero_grad()
        for name, inputs in batches.items():
            loss = model(**inputs).loss
            loss.backward()
            losses[name] = round(loss.item(), 4)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 25 == 0:
            print(f"{step}: losses {losses}, {time.time() - started:.0f} s", flush=True)
        if step % SAVE_EVERY == SAVE_EVERY - 1:
            print(f"{step}: exact {check(model, processor)}", flush=True)
            torch.save({"step": step + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, state)

    print(f"{validate(model, processor, easy, kept):.4f} of easy-VQA's images kept back", flush=True)
    small = copy.deepcopy(model).to(torch.bfloat16)
    for part in (small.config.text_config, small.config.vision_config):
        part.dtype = None  # else it says what was loaded for training
    small.save_pretrained(args.folder)
    state.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
