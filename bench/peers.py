"""Other clients that people would use instead, in their plain use on the same folder of images.

    python -m bench.peers openai --url URL --model NAME --images FOLDER --concurrency 64 --max-tokens 64

`openai` is the OpenAI Python client with asyncio and a semaphore. `requests` sends one request after another, as the
scripts did that this workflow replaces. `datatrove` is its inference runner with an endpoint. vLLM's own clients are in
bench.vllm_peers, which runs in vLLM's environment.
"""

import argparse
import asyncio
import base64
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from bench.meter import measured

PROMPT = "Describe this image in detail."
TIMEOUT_S = 300


def conversation(path: Path) -> list[dict[str, Any]]:
    """The messages that ask about one JPEG file."""
    encoded = base64.b64encode(path.read_bytes()).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded}"}}
    return [{"role": "user", "content": [image, {"type": "text", "text": PROMPT}]}]


def ask_openai(paths: list[Path], options: argparse.Namespace) -> dict[str, str]:
    from openai import AsyncOpenAI

    async def ask_all() -> dict[str, str]:
        captions = {}
        slots = asyncio.Semaphore(options.concurrency)
        async with AsyncOpenAI(base_url=f"{options.url}/v1", api_key="none", timeout=TIMEOUT_S) as client:

            async def ask(path: Path) -> None:
                async with slots:
                    answer = await client.chat.completions.create(
                        model=options.model,
                        messages=conversation(path),
                        max_tokens=options.max_tokens,
                        temperature=0,
                    )
                captions[path.name] = answer.choices[0].message.content

            await asyncio.gather(*map(ask, paths))
        return captions

    return asyncio.run(ask_all())


def ask_requests(paths: list[Path], options: argparse.Namespace) -> dict[str, str]:
    import requests

    captions = {}
    for path in paths:
        body = {
            "model": options.model,
            "messages": conversation(path),
            "max_tokens": options.max_tokens,
            "temperature": 0,
        }
        answer = requests.post(f"{options.url}/v1/chat/completions", json=body, timeout=TIMEOUT_S)
        answer.raise_for_status()
        captions[path.name] = answer.json()["choices"][0]["message"]["content"]
    return captions


def ask_datatrove(paths: list[Path], options: argparse.Namespace) -> dict[str, str]:
    from datatrove.data import Document
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter
    from loguru import logger

    logger.remove()
    logger.add(sys.stderr, level="WARNING")

    async def ask(document: Document, generate: Callable[[dict[str, Any]], Awaitable[Any]]) -> str:
        answer = await generate({"messages": conversation(Path(document.text)), "max_tokens": options.max_tokens})
        text: str = answer.text
        return text

    def documents() -> Iterator[Document]:
        for path in paths:
            yield Document(text=str(path), id=path.name)

    with tempfile.TemporaryDirectory() as folder:
        config = InferenceConfig(
            server_type="endpoint",
            endpoint_url=options.url,
            model_name_or_path=options.model,
            default_generation_params={"temperature": 0},
            max_concurrent_generations=options.concurrency,
            max_concurrent_documents=options.concurrency,
            request_timeout=TIMEOUT_S,
            # by default it tries 300 times, 5 s apart, without a message
            server_ready_max_attempts=2,
            server_start_max_retries=0,
        )
        writer = JsonlWriter(folder, output_filename="${rank}.jsonl", compression=None)
        InferenceRunner(rollout_fn=ask, config=config, output_writer=writer).run(documents())
        rows = map(json.loads, next(Path(folder).glob("*.jsonl")).read_text().splitlines())
        return {row["id"]: row["metadata"]["rollout_results"][0] for row in rows}


ASK = {"openai": ask_openai, "requests": ask_requests, "datatrove": ask_datatrove}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=ASK)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, help="how many of the images, all by default")
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    options = parser.parse_args()
    paths = sorted(options.images.glob("*.jpg"))[: options.count]
    if options.peer == "openai":
        import openai  # noqa: F401 - importing is start-up, not work
    elif options.peer == "datatrove":
        import datatrove.pipeline.inference.run_inference  # noqa: F401 - as above
    with measured() as figures:
        captions = ASK[options.peer](paths, options)
        figures["images"] = sum(bool(text) for text in captions.values())
    if figures["images"] != len(paths):
        sys.exit(f"{options.peer}: {figures['images']} of {len(paths)} images have a caption")


if __name__ == "__main__":
    main()
