"""Print the accuracy in a QA metrics file, overall and per category.

.venv/bin/python -m bench.accuracy METRICS
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def table(metrics: Mapping[str, Any]) -> str:
    """One row per category, the last for all: name, accuracy, right answers of graded ones."""
    groups = metrics["category_metrics"]
    counts = {name: (group["correct"], group["total"] - group["ungraded"]) for name, group in groups.items()}
    counts["all"] = (metrics["correct_answers"], metrics["total_questions"] - metrics["ungraded_questions"])
    width = max(map(len, counts))
    return "\n".join(
        f"  {name:<{width}}  {right / total:6.1%}  {right:,} of {total:,}"
        for name, (right, total) in counts.items()
        if total
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", type=Path)
    print(table(json.loads(parser.parse_args().metrics.read_text())))


if __name__ == "__main__":
    main()
