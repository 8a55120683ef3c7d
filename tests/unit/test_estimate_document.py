"""The figures of docs/estimate.md are what its formulas give."""

import re

import pytest
from projects import ROOT

PAGE = (ROOT / "docs" / "estimate.md").read_text()
ROW = re.compile(r"^\| (Qwen\S+) \| (.+) \|$", re.MULTILINE)
CELLS = {(name, *rest.split(" | ")) for name, rest in ROW.findall(PAGE)}
MEMORY = [row for row in CELLS if " B" in row[1]]
HOURS = sorted(CELLS - {*MEMORY})
#: {model: (parameters, bytes of KV cache for a token)}
MODELS = {
    name: (float(parameters.split()[0]) * 1e9, 2 * 2 * layers * heads * size)
    for name, parameters, shape, *_ in MEMORY
    for layers, heads, size in [map(int, shape.split(", "))]
}


def shown(seconds):
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def test_the_memory_is_what_the_formula_gives():
    assert len(MEMORY) == 3
    for name, _, _, weights, cache, _ in MEMORY:
        parameters, token_bytes = MODELS[name]
        assert weights == f"{2 * parameters / 1e9:.1f} GB"
        assert cache == f"{1200 * token_bytes / 1e9:.2f} GB"


@pytest.mark.parametrize("row", HOURS, ids=lambda row: f"{row[0]}-{row[1].partition(' (')[0]}")
def test_the_hours_are_what_the_formula_gives(row):
    name, gpu, rate, thousand, hundred_thousand = row
    parameters, token_bytes = MODELS[name]
    count, memory_gb, tflops, terabytes = re.fullmatch(
        r"(?:(\d) x )?\w+(?: \d+)? (\d+) GB \((\d+), ([\d.]+)\)", gpu
    ).groups()
    gpus, weights, cache = int(count or 1), 2 * parameters, 1210 * token_bytes
    requests = min(256, int((0.9 * gpus * float(memory_gb) * 1e9 - weights - 3e9) // cache))
    prefill_s = 2 * (parameters + 4 * 0.4e9) * 1060 / (0.4 * gpus * float(tflops) * 1e12)
    decode_s = 150 * (weights + requests * cache) / (requests * 0.6 * gpus * float(terabytes) * 1e12)
    seconds = prefill_s + decode_s
    assert (rate, thousand, hundred_thousand) == (f"{1 / seconds:.1f}", shown(1000 * seconds), shown(100_000 * seconds))
