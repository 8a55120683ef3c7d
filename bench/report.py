"""The table and the JSON: medians of interleaved runs with their range, and how they compare."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import psutil

HEADINGS = ("part", "what", "images/s", "(least-most)", "CPU ms/image", "of limit", "of best peer", "per core", "")
LEFT = (0, 1, len(HEADINGS) - 1)
OURS = "captionqa"


@dataclass
class Row:
    """One line of the table: what was run, with the figures of each round.

    `limit` names the row of the same part that the rate is compared with. A row without images has `figures` alone.
    """

    part: str
    name: str
    images_per_s: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    command: str = ""
    limit: str | None = None
    is_peer: bool = False
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, images: int, wall_s: float, cpu_s: float) -> None:
        self.images_per_s.append(images / wall_s)
        self.cpu_ms.append(1000 * cpu_s / images)


def compared(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain values, with medians and the ratios to the part's limit and to its best peer."""
    rates = {(row.part, row.name): median(row.images_per_s) for row in rows if row.images_per_s}
    peers = [row for row in rows if row.is_peer and row.images_per_s]
    best = {row.part: max(rates[peer.part, peer.name] for peer in peers if peer.part == row.part) for row in peers}
    least_cpu = {row.part: min(median(peer.cpu_ms) for peer in peers if peer.part == row.part) for row in peers}
    values = []
    for row in rows:
        rate = rates.get((row.part, row.name))
        limit = None if row.limit is None else rates.get((row.part, row.limit))
        cpu_ms = median(row.cpu_ms) if row.cpu_ms else None
        peer = None if row.is_peer or row.limit == row.name else best.get(row.part)
        values.append(
            {
                **asdict(row),
                "median_images_per_s": rate,
                "median_cpu_ms": cpu_ms,
                "of_limit": rate / limit if rate and limit else None,
                "of_best_peer": rate / peer if rate and peer else None,
                "per_core_of_best_peer": least_cpu[row.part] / cpu_ms if cpu_ms and peer else None,
            }
        )
    return values


def server_use(spent: Sequence[Mapping[str, float]], items: int) -> dict[str, float]:
    """What an item cost a server (median over the runs), its tokens, and the hit rates of the server's caches.

    `spent` has the increase of `servers.server_figures` in each run of `items` items. A cache without queries has no
    rate.
    """
    figures = {
        "server CPU ms each": median(1000 * one["cpu_s"] / items for one in spent),
        "of it HTTP and preprocessing": median(1000 * one["main_cpu_s"] / items for one in spent),
        "prompt tokens": median(one["prompt_tokens"] / items for one in spent),
        "answer tokens": median(one["generation_tokens"] / items for one in spent),
    }
    for name, cache in (("prefix hits", "prefix_cache"), ("image hits", "mm_cache")):
        if queries := sum(one[f"{cache}_queries"] for one in spent):
            figures[name] = sum(one[f"{cache}_hits"] for one in spent) / queries
    return figures


def table(rows: Sequence[Row]) -> str:
    cells = [HEADINGS, *map(_cells, compared(rows))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(_line(line, widths) for line in cells)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    rate = row["median_images_per_s"]
    spread = f"({min(row['images_per_s']):.1f}-{max(row['images_per_s']):.1f})" if rate else ""
    return (
        row["part"],
        row["name"],
        f"{rate:.1f}" if rate else "",
        spread,
        _number(row["median_cpu_ms"], ".2f"),
        _number(row["of_limit"], ".3f"),
        _number(row["of_best_peer"], ".3f"),
        _number(row["per_core_of_best_peer"], ".3f"),
        ", ".join(f"{name} {_value(value)}" for name, value in row["figures"].items()),
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _value(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    texts = [
        cell.ljust(width) if column in LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(texts).rstrip()


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, memory, load and versions."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_average": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip(),
        "captionqa's packages": {
            name: metadata.version(name) for name in ("requests", "urllib3", "pillow", "snakemake")
        },
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def write(path: Path, rows: Sequence[Row], **about: Any) -> None:
    """Write the JSON: the machine, `about` the benchmark's run, and all rows with each single measurement."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **about, "rows": compared(rows)}, indent=2) + "\n")
