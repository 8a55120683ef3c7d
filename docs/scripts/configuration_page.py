"""Write docs/configuration.md: types and defaults from the schema, meanings from the comments of config/config.yaml.

Called by `make docs`; a test compares the page with what this script makes.
"""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "configuration.md"
HEAD = """\
# Configuration

<!-- Made by docs/scripts/configuration_page.py from the schema and config/config.yaml. Edit those. -->

Every key, with its type, its default and its meaning. [config/config.yaml](../config/config.yaml) has the same as one
file, and [config/examples](../config/examples) has short ones. Names carry units: `_s` seconds, `_px` pixels along
one side, `_mb` megabytes. An unknown key is an error that names the nearest known one.
"""
TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "`null`",
    "object": "mapping",
    "array": "list",
}
#: The words for the schema's limits.
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
KEY = re.compile(r"^( *)([\w.-]+):(?: (.*))?$")
Schema = dict[str, Any]


def resolved(node: Schema, root: Schema) -> Schema:
    """A node with what its `$ref` leads to; its own keys win."""
    reference = node.get("$ref")
    return {**root["$defs"][reference.removeprefix("#/$defs/")], **node} if reference else node


def type_text(node: Schema, root: Schema) -> str:
    """What a value may be, in words."""
    node = resolved(node, root)
    hint = node.get("x-hint", "")
    if "must be " in hint and "oneOf" in node:
        return str(hint.partition("must be ")[2]).strip()
    if "enum" in node:
        # false is what YAML makes of a bare off
        words = ["null" if value is None else value for value in node["enum"] if value is not False]
        return "one of " + ", ".join(f"`{word}`" for word in words)
    if "const" in node:
        return f"`{node['const']}`"
    if "oneOf" in node:
        return " or ".join(type_text(part, root) for part in node["oneOf"])
    kinds = node.get("type", "object")
    words = [TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    limits = [words.format(node[key]) for key, words in LIMITS.items() if key in node]
    if words[0] == "list" and node.get("items"):
        words[0] = f"list; each {type_text(node['items'], root)}"
    return ", ".join([words[0], *limits]) + "".join(f", or {word}" for word in words[1:])


def comment_text(lines: list[str]) -> str:
    """A comment of the configuration as Markdown: indented lines stay as they are written, others are paragraphs."""
    blocks: list[tuple[str, list[str]]] = []
    for line in lines:
        text = line.strip()[2:]
        last = blocks[-1][0] if blocks else ""
        begins_item = text.lstrip().startswith("- ")
        if begins_item or (last == "item" and text.startswith("    ")):
            kind = "item"
        else:
            kind = "code" if text.startswith("  ") else "text"
        if begins_item or kind != last:
            blocks.append((kind, []))
        blocks[-1][1].append(text if kind == "code" else text.strip())
    return "\n\n".join(block_text(kind, texts) for kind, texts in blocks)


def block_text(kind: str, texts: list[str]) -> str:
    if kind == "code":
        return "```text\n" + textwrap.dedent("\n".join(texts)) + "\n```"
    text = " ".join(texts).replace("<image>", "`<image>`")
    return re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", text)


def comments_by_key() -> dict[str, str]:
    """{path of a key: its comment} in config/config.yaml; the model's name in paths is NAME."""
    found: dict[str, str] = {}
    comment: list[str] = []
    path: list[tuple[int, str]] = []
    for line in (ROOT / "config" / "config.yaml").read_text().splitlines():
        if line.strip().startswith("#"):
            comment.append(line)
        elif match := KEY.match(line):
            depth = len(match[1])
            path = [(at, name) for at, name in path if at < depth]
            path.append((depth, "NAME" if [name for _, name in path] == ["models"] else match[2]))
            found[".".join(name for _, name in path)] = comment_text(comment)
            comment = []
        else:
            comment = []
    return found


def default_text(node: Schema, required: bool) -> str:
    if required:
        return "required"
    if "default" not in node:
        return "may be left out"
    default = node["default"]
    return f"default `{default if isinstance(default, str) else json.dumps(default)}`"


def key_parts(path: str, node: Schema, root: Schema, required: bool, comments: dict[str, str]) -> list[str]:
    """The lines of a key and of all below it; none where the comment of the key above explains it."""
    if path not in comments:
        return []
    node = resolved(node, root)
    below = node.get("properties", {})
    depth = "##" if "." not in path else "###"
    parts = [f"{depth} {path}", comments[path]]
    if not below and path != "models":
        parts.insert(1, f"*{type_text(node, root)}* · {default_text(node, required)}")
    for name, child in below.items():
        parts += key_parts(f"{path}.{name}", child, root, name in node.get("required", ()), comments)
    if path == "models":
        parts += key_parts("models.NAME", root["$defs"]["model"], root, True, comments)
    return parts


def page() -> str:
    """The whole page."""
    root = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    comments = comments_by_key()
    comments["output_dir"] = comments["output_dir"].rpartition("\n\n")[2]
    parts = [HEAD.rstrip()]
    for name, node in root["properties"].items():
        parts += key_parts(name, node, root, name in root["required"], comments)
    return "\n\n".join(part for part in parts if part) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
