"""vLLM's own clients, `bench serve` and `run-batch`, called as modules in vLLM's environment.

Only the requests are timed: not the imports, not the reading and encoding of images by `bench serve`, and not the
start of the engine by `run-batch`.

    .venv-vllm/bin/python -m bench.vllm_peers serve ...        the arguments of `vllm bench serve`
    .venv-vllm/bin/python -m bench.vllm_peers run-batch ...    the arguments of `vllm run-batch`
"""

import argparse
import asyncio
import sys
from functools import partial
from typing import Any

from bench.meter import measured


def bench_serve(arguments: list[str]) -> None:
    from vllm.benchmarks import serve

    benchmark = serve.benchmark

    async def timed(**options: Any) -> dict[str, Any]:
        with measured() as figures:
            result = await benchmark(**options)
            figures["images"] = result["completed"]
            # its clock starts after a first trial request
            figures["own_wall_s"] = result["duration"]
        return result

    serve.benchmark = timed
    # the image before the text, as in the other clients: another prompt would get answers of another length
    ask = serve.ASYNC_REQUEST_FUNCS["openai-chat"]
    serve.ASYNC_REQUEST_FUNCS["openai-chat"] = partial(ask, mm_position="first")
    parser = argparse.ArgumentParser()
    serve.add_cli_args(parser)
    serve.main(parser.parse_args(arguments))


def run_batch(arguments: list[str]) -> None:
    from vllm.entrypoints.launchers import run_batch as module

    run = module.run_batch
    sys.argv[1:] = arguments
    options = module.parse_args()

    async def timed(*positional: Any) -> None:
        with measured() as figures:
            await run(*positional)
            with open(options.output_file, encoding="utf-8") as file:
                figures["images"] = sum('"status_code":200' in line.replace(" ", "") for line in file)

    module.run_batch = timed
    asyncio.run(module.main(options))


if __name__ == "__main__":
    {"serve": bench_serve, "run-batch": run_batch}[sys.argv[1]](sys.argv[2:])
