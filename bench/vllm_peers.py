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

import psutil

from bench.meter import measured


def bench_serve(arguments: list[str]) -> None:
    from vllm.benchmarks import serve

    benchmark = serve.benchmark

    async def timed(**options: Any) -> dict[str, Any]:
        with measured() as figures:
            result: dict[str, Any] = await benchmark(**options)
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
        before = _children_cpu_s()
        with measured() as figures:
            await run(*positional)
            figures["engine_cpu_s"] = _children_cpu_s() - before
            with open(options.output_file, encoding="utf-8") as file:
                figures["images"] = sum('"status_code":200' in line.replace(" ", "") for line in file)

    module.run_batch = timed
    asyncio.run(module.main(options))


def _children_cpu_s() -> float:
    """The CPU seconds so far of the processes that this one started: the engine and its worker."""
    return sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children(recursive=True))


if __name__ == "__main__":
    {"serve": bench_serve, "run-batch": run_batch}[sys.argv[1]](sys.argv[2:])
