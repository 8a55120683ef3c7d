"""Train the demo model from nothing: a real Qwen3-VL of about two million parameters that knows drawn shapes.

    .venv-vllm/bin/python resources/demo/train_model.py resources/demo/model

Takes about 25 minutes on two cores. The order matters: trained all at once, colours are learned and shapes are
not. So the vision tower learns first, alone, to tell shapes and colours apart; then the whole model learns
captions; then questions are mixed in. Seeded.
"""

import argparse
import math
import random
import time

import torch
from shapes import ASPECTS, CATEGORIES, COLORS, IMAGE_MARK, PROMPTS, SHAPES, caption, draw, question, random_scene
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT_TEMPLATE = (
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' or 'image' in part or 'image_url' in part %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WIDTH = 128
SHORT_SIDE_PX = 96
LEARNING_RATE_VISION = 2e-3
LEARNING_RATE = 1.2e-3


def random_example(rng, questions: bool):
    """One training example: (scenes, prompt text with image marks, reply)."""
    if questions and rng.random() < 0.7:
        asked = question(rng, rng.choice(CATEGORIES))
        text = asked.text if IMAGE_MARK in asked.text else IMAGE_MARK * len(asked.scenes) + asked.text
        return asked.scenes, text, asked.reply
    scene, style = random_scene(rng), rng.choice(list(PROMPTS))
    return (scene,), IMAGE_MARK + PROMPTS[style], caption(scene, style)


def build_tokenizer(rng) -> PreTrainedTokenizerFast:
    corpus = [text for _ in range(4000) for text in random_example(rng, questions=True)[1:]]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [text.replace(IMAGE_MARK, "") for text in corpus] + ["assistant\n", "user\n"],
        trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHAT_TEMPLATE
    )


def build_processor(tokenizer) -> Qwen3VLProcessor:
    """The processor brings an image of any size to about 64 x 64 pixels: 16 tokens of 16 x 16."""
    image_processor = Qwen2VLImageProcessor(
        patch_size=8,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return Qwen3VLProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(patch_size=8, merge_size=2),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer) -> Qwen3VLForConditionalGeneration:
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    text_config = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 3 * WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 32,
        "max_position_embeddings": 8192,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": True,
        "eos_token_id": ids["<|im_end|>"],
        "bos_token_id": ids["<|endoftext|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    vision_config = {
        "depth": 3,
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_heads": 4,
        "patch_size": 8,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": WIDTH,
        "num_position_embeddings": 256,
        "deepstack_visual_indexes": [0, 1],
        "in_channels": 3,
    }
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(
            text_config=text_config,
            vision_config=vision_config,
            image_token_id=ids["<|image_pad|>"],
            video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"],
            vision_end_token_id=ids["<|vision_end|>"],
            tie_word_embeddings=True,
        )
    )


def demo_batch(rng, size: int, processor, questions: bool) -> dict[str, torch.Tensor]:
    """Tensors of `size` conversations on drawn shapes."""
    images, rows = [], []
    aspect = rng.choice(ASPECTS)
    for _ in range(size):
        scenes, text, reply = random_example(rng, questions)
        images += [draw(scene, rng, SHORT_SIDE_PX, aspect) for scene in scenes]
        rows.append((text, reply))
    return text_batch(processor, images, rows)


def text_batch(processor, images, rows) -> dict[str, torch.Tensor]:
    """Tensors of the conversations `rows` (prompt, reply) on `images`, all of one size, or on none.

    The loss is taken over the replies only.
    """
    tokenizer = processor.tokenizer
    image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    pixels, mark = {}, ""
    if images:
        pixels = processor.image_processor(images=images, return_tensors="pt")
        image_tokens = int(pixels["image_grid_thw"][0].prod()) // 4
        mark = "<|vision_start|>" + "<|image_pad|>" * image_tokens + "<|vision_end|>"
    encoded = []
    for text, reply in rows:
        prompt = f"<|im_start|>user\n{text.replace(IMAGE_MARK, mark)}<|im_end|>\n<|im_start|>assistant\n"
        encoded.append((tokenizer(prompt)["input_ids"], tokenizer(f"{reply}<|im_end|>")["input_ids"]))
    size = len(rows)
    length = max(len(prompt) + len(reply) for prompt, reply in encoded)
    input_ids = torch.full((size, length), tokenizer.pad_token_id)
    attention_mask = torch.zeros(size, length, dtype=torch.long)
    labels = torch.full((size, length), -100)
    for row, (prompt, reply) in enumerate(encoded):
        end = len(prompt) + len(reply)
        input_ids[row, :end] = torch.tensor(prompt + reply)
        attention_mask[row, :end] = 1
        labels[row, len(prompt) : end] = torch.tensor(reply)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "labels": labels,
        "mm_token_type_ids": (input_ids == image_token).long(),
        **pixels,
    }


def cosine(step: int, steps: int, warmup: int = 50) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then a cosine down to 2 %."""
    return min(1.0, (step + 1) / warmup) * (0.49 * (1 + math.cos(math.pi * step / steps)) + 0.02)


def train_vision(model, processor, rng, steps: int, batch: int) -> None:
    vision, colors = model.model.visual, list(COLORS)
    heads = torch.nn.ModuleList(torch.nn.Linear(WIDTH, n) for n in (len(SHAPES), len(colors), len(colors)))
    parameters = [*vision.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE_VISION, weight_decay=0.01)
    started = time.time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE_VISION * cosine(step, steps)
        aspect = rng.choice(ASPECTS)
        scenes = [random_scene(rng) for _ in range(batch)]
        pixels = processor.image_processor(
            images=[draw(scene, rng, SHORT_SIDE_PX, aspect) for scene in scenes], return_tensors="pt"
        )
        target = torch.tensor(
            [[SHAPES.index(s.shape), colors.index(s.color), colors.index(s.background)] for s in scenes]
        )
        merged = vision(pixels["pixel_values"], grid_thw=pixels["image_grid_thw"]).pooler_output
        pooled = merged.reshape(batch, -1, WIDTH).mean(1)
        logits = [head(pooled) for head in heads]
        loss = sum(cross_entropy(logit, target[:, i]) for i, logit in enumerate(logits))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 50 == 0:
            right = [round(float((z.argmax(-1) == target[:, i]).float().mean()), 2) for i, z in enumerate(logits)]
            print(f"vision {step}: right {right}, {time.time() - started:.0f} s", flush=True)


def train_words(model, processor, rng, steps: int, batch: int, caption_steps: int, save) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98))
    started = time.time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * cosine(step, steps, warmup=100)
        inputs = demo_batch(rng, batch, processor, questions=step >= caption_steps)
        out = model(**inputs)
        optimizer.zero_grad()
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            wanted = inputs["labels"][:, 1:]
            right = (out.logits[:, :-1].argmax(-1) == wanted) | (wanted == -100)
            print(
                f"words {step}: loss {out.loss.item():.4f}, exact {right.all(1).float().mean():.2f}, "
                f"{time.time() - started:.0f} s",
                flush=True,
            )
        if step % 250 == 249:
            save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="where the model goes, in the Hugging Face layout")
    parser.add_argument("--vision-steps", type=int, default=1500)
    parser.add_argument("--caption-steps", type=int, default=200)
    parser.add_argument("--steps", type=int, default=2000, help="of the whole model, captions and questions")
    parser.add_argument("--batch", type=int, default=48, help="conversations a step (images: twice as many)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)

    tokenizer = build_tokenizer(rng)
    processor = build_processor(tokenizer)
    model = build_model(tokenizer)
    print(f"{model.num_parameters() / 1e6:.1f} million parameters, {len(tokenizer)} tokens", flush=True)
    processor.save_pretrained(args.folder)

    def save() -> None:
        model.to(torch.bfloat16).save_pretrained(args.folder)
        model.to(torch.float32)

    train_vision(model, processor, rng, args.vision_steps, 2 * args.batch)
    train_words(model, processor, rng, args.steps, args.batch, args.caption_steps, save)
    save()


if __name__ == "__main__":
    main()
