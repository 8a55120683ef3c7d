"""Each message in docs/troubleshooting.md is one that captionqa, its Makefile or Snakemake prints."""

import ast
import re

import pytest
from projects import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
CELLS = [re.split(r" \| ", line)[0][2:] for line in PAGE.splitlines() if line.startswith("| `")]
MESSAGES = sorted(
    {message for cell in CELLS if "from Snakemake" not in cell for message in re.findall(r"`([^`]+)`", cell)}
)


def texts_of(path):
    """The texts in a module, with `...` for what is filled in, each as one line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def printed():
    """All texts that may be printed."""
    texts = [text for path in (ROOT / "workflow").rglob("*.py") for text in texts_of(path)]
    rules = [re.sub(r'"\s*\n\s*f?"', "", path.read_text()) for path in (ROOT / "workflow").rglob("*.smk")]
    return "\n".join([*texts, *rules, (ROOT / "Makefile").read_text()])


def test_the_page_is_read():
    assert len(MESSAGES) >= 90


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_printed_by_the_code(printed, message):
    words = [re.escape(part.strip()) for part in re.split(r"\.\.\.", message) if part.strip(" :")]
    assert re.search(r"[^\n]*".join(words), printed), message
