"""One chunk job as Snakemake would run it: the workflow's own script, and no import that the script does not need.

python -m bench.chunk_job FILE      FILE has what Snakemake hands to the script, as `bench.ours.prepare` writes it
"""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.meter import measured

SCRIPT = Path(__file__).resolve().parents[1] / "workflow" / "scripts" / "ask_chunk.py"
#: What a script finds by attribute: the rest of `snakemake` are lists and the configuration.
NAMED = ("wildcards", "resources", "params", "input")


def main() -> None:
    """Run the job, and print its figures."""
    import captionqa.client.chunk_run  # noqa: F401 - importing is start-up, which bench.parts.startup measures
    import PIL.JpegImagePlugin  # noqa: F401 - as above

    given: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    snakemake = SimpleNamespace(**given | {name: SimpleNamespace(**given[name]) for name in NAMED})
    with measured() as figures:
        runpy.run_path(str(SCRIPT), init_globals={"snakemake": snakemake})
        with open(given["output"][0], encoding="utf-8") as lines:
            next(lines)
            figures["images"] = sum("answer" in json.loads(line) for line in lines)


if __name__ == "__main__":
    main()
