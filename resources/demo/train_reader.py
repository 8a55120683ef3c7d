"""Train the demo's reader, a language model that answers the demo's questions from captions.

    .venv-vllm/bin/python resources/demo/train_reader.py resources/demo/model resources/demo/reader

It is a Qwen3 of 0.7 million parameters that begins as the language part of the demo model and has its tokenizer. It
learns from text alone: questions with captions in place of their images in all three styles, and with nothing. Where
the demo model boxes a colour, the reader goes on to the option's letter. Takes about 8 minutes on one core. Seeded.
"""

import argparse
import copy
import random
import re
import time
from pathlib import Path

import torch
from shapes import CATEGORIES, PROMPTS, Question, question, with_captions, without_images
from teach_easy_vqa import exact
from train_model import cosine, text_batch
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

ROPE_BASE = 10_000.0
#: What the demo's text layers have and a Qwen3 is configured by, beside its positions.
SHARED = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"),
)


def language_part(whole: Qwen3VLForConditionalGeneration) -> Qwen3ForCausalLM:
    """The language part of a Qwen3-VL as a model of its own: the same layers, which tell all three positions alike."""
    text = whole.config.text_config
    shared = {name: getattr(text, name) for name in SHARED}
    rope = {"rope_type": "default", "rope_theta": ROPE_BASE}
    reader = Qwen3ForCausalLM(Qwen3Config(**shared, rope_parameters=rope, tie_word_embeddings=True))
    reader.model.load_state_dict(whole.model.language_model.state_dict())
    return reader


def reply(asked: Question) -> str:
    """What the reader is taught to say: the options of colours are in random order, so it names the colour first."""
    if "color" not in asked.category:
        return asked.reply
    named = re.sub(r"\\boxed\{(\w+)\}", r"\1", asked.reply)
    return f"{named} The answer is {asked.answer}."


def rows(rng, size: int, style: str | None = None) -> list[tuple[str, str]]:
    """Questions (prompt, reply) with captions of a style; without one, of any style, and every eighth with nothing."""
    made = []
    for number in range(size):
        asked = question(rng, rng.choice(CATEGORIES))
        if style is None and number % 8 == 0:
            text = without_images(asked)
        else:
            text = with_captions(asked, style or rng.choice(list(PROMPTS)))
        made.append((text, reply(asked)))
    return made


def batch(processor, rows) -> dict[str, torch.Tensor]:
    inputs = text_batch(processor, [], rows)
    del inputs["mm_token_type_ids"]
    return inputs


@torch.no_grad()
def check(reader, processor) -> dict[str, float]:
    """The share of exact replies to 192 questions with captions of each style: always the same questions."""
    rng = random.Random(-1)
    batches = {style: batch(processor, rows(rng, 192, style)) for style in PROMPTS}
    return {style: round(exact(reader(**inputs), inputs["labels"]), 3) for style, inputs in batches.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the demo model")
    parser.add_argument("folder", type=Path, help="where the reader goes, in the Hugging Face layout")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--stop", type=int, help="end after this many of the steps, the learning rate still high")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=64, help="questions a step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)

    whole = Qwen3VLForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    processor = Qwen3VLProcessor.from_pretrained(args.model)
    reader = language_part(whole)
    print(f"{reader.num_parameters() / 1e6:.2f} million parameters; exact {check(reader, processor)}", flush=True)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=args.rate, weight_decay=0.01, betas=(0.9, 0.98))
    processor.tokenizer.save_pretrained(args.folder)
    started = time.time()
    last = (args.stop or args.steps) - 1
    for step in range(last + 1):
        for group in optimizer.param_groups:
            group["lr"] = args.rate * cosine(step, args.steps)
        loss = reader(**batch(processor, rows(rng, args.batch))).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0:
            print(f"{step}: loss {loss.item():.4f}, {time.time() - started:.0f} s", flush=True)
        if step % 100 == 99 or step == last:
            print(f"{step}: exact {check(reader, processor)}", flush=True)
            copy.deepcopy(reader).to(torch.bfloat16).save_pretrained(args.folder)


if __name__ == "__main__":
    main()
