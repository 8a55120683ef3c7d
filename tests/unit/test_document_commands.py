"""Each command in the documents can be typed as it stands: its options are there, and so are make's targets."""

import os
import re
import shlex
import subprocess
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path

import pytest
from captionqa.driver.command_line import COMMANDS as COMMANDS_OF_CAPTIONQA
from captionqa.driver.command_parser import parse
from projects import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^(?:\S*/)?(captionqa|make|snakemake) (.+)$")
#: Words that stand for something of the reader's, with what is put in their place.
PLACEHOLDERS = {"FILE": "q.jsonl", "CONFIG": "my.yaml", "PATH": "q.jsonl"}
#: What is a name or a part of a sentence, and no command: the command described, or Snakemake's words.
PROSE = re.compile(r"\[|\.\.\.|^COMMAND|^needs ")


def commands_of(document):
    """The commands in a document's code blocks and in its inline code, without comments and continued lines in one."""
    text = document.read_text().replace("\\\n", " ")
    blocks = re.findall(r"^(?:    |\t)(.+)$", text, re.MULTILINE)
    fenced = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    inline = [
        " ".join(code.split())
        for code in re.findall(r"`([^`]+)`", re.sub(r"^(?:    ).*$", "", text, flags=re.MULTILINE))
    ]
    for line in (*blocks, *fenced, *inline):
        match = COMMAND.match(line.partition(" #")[0].strip())
        if match and not PROSE.search(match[2]):
            yield match[1], " ".join(PLACEHOLDERS.get(word, word) for word in match[2].split(" "))


COMMANDS = sorted({command for document in DOCUMENTS for command in commands_of(document)})


def test_the_documents_are_read():
    assert {program for program, _ in COMMANDS} == {"captionqa", "make", "snakemake"}
    assert len(COMMANDS) >= 30


@pytest.mark.parametrize("words", [words for program, words in COMMANDS if program == "captionqa"])
def test_a_command_of_captionqa_is_understood(words):
    if " " not in words and words != "--help":
        assert words in COMMANDS_OF_CAPTIONQA
    elif words.endswith("--help"):
        with pytest.raises(SystemExit) as ended, redirect_stdout(None):
            parse(shlex.split(words))
        assert ended.value.code == 0
    else:
        parse(shlex.split(words))


@pytest.mark.parametrize("words", [words for program, words in COMMANDS if program == "make"])
def test_a_target_of_make_is_there(words):
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "VLLM")}
    command = ["make", "--dry-run", "--assume-old=.venv/.installed", *shlex.split(words)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [words for program, words in COMMANDS if program == "snakemake"])
def test_an_option_of_snakemake_is_there(words):
    from snakemake.cli import get_argument_parser

    options = shlex.split(words)
    known = {name for action in get_argument_parser()._actions for name in action.option_strings}
    assert {option.partition("=")[0] for option in options if option.startswith("-")} <= known
    profiles = [value for option, value in pairwise(options) if option == "--profile"]
    assert all((ROOT / "profiles" / Path(profile).name).is_dir() for profile in profiles)
