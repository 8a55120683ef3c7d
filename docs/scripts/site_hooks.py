"""What the site has beside the files in docs: the documents of the repository's other folders, and the examples."""

import re
from pathlib import Path
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
#: {document of the repository: page of the site}
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "resources/demo/README.md": "demo_model.md",
}
#: Files that are linked and are no pages.
FILES = {"LICENSE": "LICENSE.txt", "CITATION.cff": "CITATION.cff"}
EXAMPLES = "examples.md"
EXAMPLES_HEAD = """\
# Example configurations

Files in `config/` to copy from. [Configuration](configuration.md) explains each key.
"""
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(#[^)\s]+)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of files outside of docs."""
    for source, target in PAGES.items():
        files.append(File.generated(config, target, content=in_site((ROOT / source).read_text(), source)))
    for source, target in FILES.items():
        files.append(File.generated(config, target, content=(ROOT / source).read_text()))
    files.append(File.generated(config, EXAMPLES, content=examples()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a page in docs to where their targets are in the site."""
    path = page.file.src_uri
    return markdown if path in (*PAGES.values(), EXAMPLES) else in_site(markdown, f"docs/{path}")


def in_site(markdown: str, source: str) -> str:
    """A document, whose path in the repository is given, with the site's links."""

    def link(match: re.Match[str]) -> str:
        path = normpath(f"{Path(source).parent.as_posix()}/{match[1]}")
        if path.startswith("config"):
            name = Path(path).name
            return f"]({EXAMPLES}#{name.replace('.', '')})" if "." in name else f"]({EXAMPLES})"
        target = {**PAGES, **FILES}.get(path, relpath(path, "docs"))
        return f"]({target}{match[2] or ''})"

    return LINK.sub(link, markdown)


def examples() -> str:
    """The page with all configurations in config/."""
    paths = [*sorted((ROOT / "config" / "examples").glob("*.yaml")), *sorted((ROOT / "config").glob("*.yaml"))]
    parts = [EXAMPLES_HEAD]
    for path in paths:
        name = path.name.replace(".", "")
        parts.append(f"## {path.relative_to(ROOT)} {{: #{name} }}\n\n```yaml\n{path.read_text().rstrip()}\n```\n")
    return "\n".join(parts)
