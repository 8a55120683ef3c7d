"""What all parts share: the images, the settings of the servers, and the rows that are run in turn."""

import itertools
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import servers
from bench.clients import Target
from bench.data import make_images
from bench.ours import ROOT
from bench.processes import Outcome
from bench.report import Row, server_use
from bench.sizes import Sizes

MODEL = ROOT / "resources" / "demo" / "model"
#: Requests that the simulator runs at once.
SLOTS = 64
#: With what each takes, the simulator is like a GPU that answers 128 requests a second.
SIMULATED_GPU = ("--slots", str(SLOTS), "--latency-s", "0.5")
MAX_TOKENS = 64
#: Requests in flight; more gain nothing from vLLM on a few CPU cores.
VLLM_CONCURRENCY = 32
#: Of the parts whose photographs cost more than their answers.
ANSWER_TOKENS = 16

Run = Callable[[], Outcome]


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Bench:
    """One run of the benchmark; all its parts write below one folder."""

    def __init__(
        self, sizes: Sizes, folder: Path, model: str | None = None, photograph_s: tuple[float, float] | None = None
    ):
        """`model` is what the part `gpu` serves, by default the demo's.

        `photograph_s` are the seconds that the part `styles` simulates for a new and for a cached photograph; by
        default it measures them.
        """
        self.sizes = sizes
        self.folder = folder
        self.model = model
        self.photograph_s = photograph_s

    def images(self, side_px: int, size_kb: float, count: int) -> tuple[Path, float]:
        """A folder of images, made where it is not there yet, and their mean size in kB (1,000 bytes)."""
        folder = self.folder / f"images-{side_px}-{count}"
        if not folder.exists():
            say(f"making {count} images of {side_px} pixels and about {size_kb:.0f} kB")
            make_images(folder, count, side_px, size_kb)
        sizes = [path.stat().st_size for path in folder.iterdir()]
        return folder, sum(sizes) / len(sizes) / 1000

    def target(self, url: str, count: int, model: str = "simulator") -> Target:
        """A server that is asked for captions of images of 1024 pixels and about 200 kB."""
        images, image_kb = self.images(1024, 200, count)
        return Target(url, model, images, image_kb, count, MAX_TOKENS)

    def interleaved(self, rows: list[Row], runs: Mapping[str, Run], rounds: int | None = None) -> list[Row]:
        """Run each row once, then each once more, and so on, so that a busy minute of the machine affects all alike."""
        for row in itertools.chain.from_iterable([rows] * (rounds or self.sizes.rounds)):
            if "failed" in row.figures:
                continue  # a client that hung once would use up its timeout in each round
            try:
                argv, figures = runs[row.name]()
            except (RuntimeError, ValueError) as error:
                if not row.is_peer:
                    raise
                row.figures["failed"] = str(error).strip().splitlines()[-1]
                say(f"{row.part}: {row.name}: {error}")
                continue
            row.command = shlex.join(argv)
            row.add(figures["images"], figures["wall_s"], figures["cpu_s"])
            row.figures["peak MB"] = round(figures["peak_mb"])
            say(f"{row.part}: {row.name}: {row.images_per_s[-1]:.1f} images/s, {row.cpu_ms[-1]:.2f} ms of CPU each")
        return rows

    def with_servers(
        self, rows: list[Row], runs: Mapping[str, Run], running: Sequence[servers.Running], items: int, rounds: int
    ) -> None:
        """Run the rows in turn, and add what an item cost each row's server and how often its caches were hit."""
        spent: dict[str, list[dict[str, float]]] = {row.name: [] for row in rows}
        for _, (row, server) in itertools.product(range(rounds), list(zip(rows, running, strict=True))):
            before = servers.server_figures(server)
            self.interleaved([row], runs, rounds=1)
            after = servers.server_figures(server)
            spent[row.name].append({name: after[name] - before[name] for name in after})
        for row in rows:
            if "failed" not in row.figures:
                row.figures |= server_use(spent[row.name], items)
