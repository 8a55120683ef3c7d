"""How the package is laid out: where its modules find the checkout."""

import re

import captionqa
from captionqa.config.config import SCHEMA
from captionqa.server.vllm_command import CHECKOUT, SERVER_ENVIRONMENT

MODULES = sorted(captionqa.PACKAGE.rglob("*.py"))


def test_the_checkout_is_found_by_what_is_in_it():
    assert (captionqa.CHECKOUT / "Snakefile").is_file()
    assert (captionqa.WORKFLOW / "Snakefile").is_file()
    assert SCHEMA.is_file()
    makefile = (CHECKOUT / "Makefile").read_text()
    assert f"{SERVER_ENVIRONMENT}/.installed-cpu" in makefile


def test_only_the_package_itself_counts_its_parents():
    """A module that did would find another folder once it is moved, and other tools' files in it."""
    counting = [path.name for path in MODULES if re.search(r"__file__\W.*parent", path.read_text())]
    assert counting == ["__init__.py"]
