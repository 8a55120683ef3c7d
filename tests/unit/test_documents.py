"""The documents: every file and name on the map exists, and no link leads nowhere."""

import importlib.util
import re

import captionqa
import pytest
import yaml
from projects import ROOT

GROUND = "errors|files|external_sort|threads"
CODE = re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "architecture.md").read_text())
#: Such as `client/journal.py`, in the package, or `workflow/rules/driver.smk`, in the checkout.
FILES = sorted({code for code in CODE if re.fullmatch(r"[\w./-]+/[\w.-]+\.(?:py|smk|yaml|md)", code)})
#: Such as `client/journal.JournalSegment.append` or `files.LineFile`.
NAMES = sorted({code for code in CODE if re.fullmatch(rf"(?:[a-z]+/[a-z_]+|{GROUND})(?:\.\w+)+", code)} - {*FILES})
DOCUMENTS = sorted(path for folder in (".", "docs", "config", "resources/demo") for path in ROOT.glob(f"{folder}/*.md"))
#: Path and anchor of a link that is no address.
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(document):
    """The anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_map_is_read():
    """Else a new way to write a name would pass all that follows."""
    assert len(FILES) >= 50
    assert len(NAMES) >= 70


@pytest.mark.parametrize("path", FILES)
def test_every_file_on_the_map_exists(path):
    assert (captionqa.PACKAGE / path).is_file() or (ROOT / path).is_file()


@pytest.mark.parametrize("name", NAMES)
def test_every_name_on_the_map_exists(name):
    module, *attributes = name.split(".")
    found = importlib.import_module(f"captionqa.{module.replace('/', '.')}")
    for attribute in attributes:
        found = getattr(found, attribute)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(document):
    for path, anchor in LINK.findall(document.read_text()):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_readme_links_all_documents():
    linked = {path for path, _ in LINK.findall((ROOT / "README.md").read_text())}
    assert {str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md")} <= linked


def test_the_page_of_the_configuration_is_what_its_script_makes():
    path = ROOT / "docs" / "scripts" / "configuration_page.py"
    spec = importlib.util.spec_from_file_location("configuration_page", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text() == script.page(), "run docs/scripts/configuration_page.py"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == captionqa.__version__
