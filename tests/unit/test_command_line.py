"""The command `captionqa`: what it says to mistakes, with which exit code it ends, and what it starts."""

import os
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module

import captionqa
import pytest
import yaml
from captionqa.config.check import load_config
from captionqa.driver import command_line
from captionqa.driver.command_line import COMMANDS, main, snakemake_command
from captionqa.driver.command_parser import UsageError, parse
from captionqa.errors import ConfigError
from captionqa.results import ask_again, forgetting
from captionqa.run.lease import LeaseKeeper
from captionqa.server import slurm

#: Modules that take long to import, which no help needs.
SLOW_IMPORTS = {"jsonschema", "numpy", "pandas", "PIL", "pyarrow", "requests", "rich", "snakemake", "yaml"}
WITH_CONFIG = [name for name in COMMANDS if name not in ("compare", "data")]
#: What a command needs behind its configuration.
NEEDED = {"push": ["me/birds"]}


@pytest.fixture
def config_path(tmp_path, raw_config, monkeypatch):
    """my.yaml in the current folder, with captions alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(raw_config({"qa": None})))
    return tmp_path / "my.yaml"


@pytest.fixture
def executed(monkeypatch):
    """The command lines that would have replaced this process."""
    found = []
    monkeypatch.setattr(os, "execv", lambda path, command: found.append((path, command)))
    return found


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """Leave nothing on PATH but programs of these names."""

    def only(*names):
        folder = tmp_path / "bin"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in names:
            (folder / name).touch(mode=0o755)
        monkeypatch.setenv("PATH", str(folder))

    return only


@pytest.mark.slow
def test_help_imports_nothing_slow_and_names_every_command(workflow_folder):
    command = [sys.executable, "-X", "importtime", "-m", "captionqa", "--help"]
    done = subprocess.run(command, cwd=workflow_folder, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & SLOW_IMPORTS
    assert all(f"\n    {name}" in done.stdout for name in COMMANDS)
    assert "captionqa run my.yaml -n" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: captionqa {name} ")
    assert "--half" not in text


def test_it_says_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"captionqa {captionqa.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            "which command? run, status, audit, estimate, retry-failed, forget, data, compare, view, push; "
            "captionqa --help describes them",
        ),
        (["adit", "my.yaml"], "there is no command 'adit'; the commands are run, status, audit, "),
        (["audit"], "the following arguments are required: CONFIG; usage: captionqa audit CONFIG"),
        (["run"], "the following arguments are required: CONFIG; usage: captionqa run CONFIG"),
        (["status", "my.yaml", "--fast"], "unknown argument --fast; usage: captionqa status CONFIG"),
        (["run", "-n", "my.yaml"], "unknown argument -n; usage: captionqa run CONFIG [Snakemake's own options]"),
        (["compare", "a.json"], "required: B; usage: captionqa compare A B [--output FILE]"),
        (["forget", "my.yaml", "--task", "caption"], "--task caption: must be captions, qa or judge"),
        (["retry-failed", "my.yaml", "--half", "caption"], "--task caption: must be captions, qa or judge"),
        (["forget", "my.yaml", "--task"], "argument --task: expected one argument; usage: captionqa forget CONFIG"),
        (["forget", "my.yaml", "--reason", "slow"], "--reason slow: must be missing_image, unreadable_image, "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line_is_one_sentence(words, said, capsys):
    assert main(words) == 2
    text = capsys.readouterr().err
    assert text.startswith("captionqa: ")
    assert said in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_a_missing_configuration_is_named(name, capsys, executed):
    assert main([name, "nowhere.yaml", *NEEDED.get(name, ())]) == 1
    assert capsys.readouterr().err == "captionqa: there is no file nowhere.yaml\n"
    assert executed == []


@pytest.mark.parametrize("name", [name for name in WITH_CONFIG if name != "run"])
def test_a_bad_configuration_is_one_sentence(name, config_path, capsys):
    config_path.write_text("captions: {promt_styles: []}\noutput_dir: out\n")
    assert main([name, "my.yaml", *NEEDED.get(name, ())]) == 1
    text = capsys.readouterr().err
    assert text.startswith("captionqa: ")
    assert text.count("\n") == 1


def test_an_error_of_the_system_names_the_file(config_path, monkeypatch, capsys):
    def fail(options):
        raise PermissionError(13, "Permission denied", "out/audit.tsv")

    monkeypatch.setitem(COMMANDS, "audit", fail)
    assert main(["audit", "my.yaml"]) == 1
    assert capsys.readouterr().err == "captionqa: out/audit.tsv: Permission denied\n"


def test_ctrl_c_ends_it_quietly(config_path, monkeypatch, capsys):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "audit", interrupt)
    assert main(["audit", "my.yaml"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_traceback(config_path, workflow_folder):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "captionqa", "status", str(config_path)],
            env={**os.environ, "PYTHONPATH": str(workflow_folder)},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_former_name_of_the_task_is_understood():
    assert (
        parse(["forget", "my.yaml", "--half", "qa"]).task == parse(["forget", "my.yaml", "--task", "qa"]).task == "qa"
    )
    assert parse(["forget", "my.yaml"]).task is None


def test_truncated_is_for_forget_alone(config_path, capsys):
    assert main(["retry-failed", "my.yaml", "--reason", "truncated"]) == 1
    assert capsys.readouterr().err == "captionqa: truncated is a flag on an answer, not a failure: use forget.\n"
    assert main(["forget", "my.yaml", "--reason", "truncated"]) == 0
    assert capsys.readouterr().out == "There is nothing to forget.\n"


@pytest.fixture
def found(monkeypatch):
    """What retry-failed and forget would do, which are stand-ins here: `items`; and what they did, `done`."""

    class Found:
        items = 3
        has_effect = True
        done, selections = [], []

        def text(self):
            return f"This changes {self.items}."

        def apply(self):
            self.done.append(self.items)
            return self.items

        def find(self, config, *selection, **options):
            self.selections.append((*selection, *options.values()))
            return self

    found = Found()
    found.done, found.selections = [], []
    monkeypatch.setattr(ask_again, "question_faults", lambda config, *selection: {"invalid_question": 2})
    monkeypatch.setattr(ask_again, "retry_failed", found.find)
    monkeypatch.setattr(forgetting, "forget", found.find)
    monkeypatch.setattr(forgetting, "undo_forget", found.find)
    return found


@pytest.fixture
def terminal(monkeypatch):
    """A terminal at which a person answers."""

    def answers(text, meanwhile=lambda: None):
        def read(prompt):
            meanwhile()
            if text is None:
                raise EOFError
            return text

        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", read)

    return answers


def test_one_item_that_is_forgotten_has_no_plural(config_path, found, capsys):
    found.items = 1
    assert main(["forget", "my.yaml", "--yes"]) == 0
    assert capsys.readouterr().out.endswith("\n1 item was forgotten and will be asked again by the next run.\n")


def test_the_selection_reaches_what_asks_again(config_path, found, capsys):
    assert main(["retry-failed", "my.yaml", "--task", "captions", "--style", "SHORT", "--yes"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "This changes 3.",
        "Not asked again: 2 invalid_question. Correct these in the question file and run again.",
    ]
    assert main(["retry-failed", "my.yaml", "--reason", "timeout", "--yes"]) == 0
    assert capsys.readouterr().out == "This changes 3.\n"
    assert main(["forget", "my.yaml", "--reason", "timeout", "--yes"]) == 0
    assert main(["forget", "my.yaml", "--reason", "truncated", "--task", "captions", "--yes"]) == 0
    assert main(["forget", "my.yaml", "--undo", "--model", "tiny"]) == 0
    assert found.selections == [
        ("captions", "SHORT", None, None),
        (None, None, "timeout", None),
        (None, None, "timeout", None),
        ("captions", None, True, None),
        (None, None, "tiny"),
    ]
    assert len(found.done) == 5


@pytest.mark.parametrize("command", ["retry-failed", "forget"])
def test_without_a_terminal_nothing_is_changed_and_yes_is_named(command, config_path, found, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert main([command, "my.yaml"]) == 2
    said = capsys.readouterr()
    assert "This changes 3." in said.out
    assert said.err.count("\n") == 1
    assert "nothing was changed, since nobody can be asked without a terminal; add --yes" in said.err
    assert found.done == []


@pytest.mark.parametrize("command", ["retry-failed", "forget"])
@pytest.mark.parametrize(("said", "code"), [("y", 0), (" YES ", 0), ("", 1), ("n", 1), ("yessir", 1), (None, 1)])
def test_at_a_terminal_only_a_yes_lets_it_happen(command, said, code, config_path, found, terminal, capsys):
    terminal(said)
    assert main([command, "my.yaml"]) == code
    assert len(found.done) == (code == 0)
    assert ("nothing was changed" in capsys.readouterr().err) == bool(code)


@pytest.mark.parametrize("command", ["retry-failed", "forget"])
def test_nothing_is_changed_below_a_run_that_begins_before_the_answer(command, config_path, found, terminal, capsys):
    lease = LeaseKeeper(load_config(config_path).layout().server)
    terminal("y", meanwhile=lease.start)
    assert main([command, "my.yaml"]) == 1
    lease.release()
    assert "a run works on " in capsys.readouterr().err
    assert found.done == []


@pytest.mark.parametrize("command", ["retry-failed", "forget"])
def test_nobody_is_asked_where_nothing_would_change(command, config_path, found):
    found.items, found.has_effect = 0, False
    assert main([command, "my.yaml"]) == 0
    assert found.done == []


def test_an_undo_is_of_all_that_was_moved_aside(config_path, capsys):
    assert main(["forget", "my.yaml", "--undo", "--reason", "truncated"]) == 2
    assert "--undo brings back all that was moved aside; leave out --reason" in capsys.readouterr().err


def test_status_says_how_to_start(config_path, capsys):
    assert main(["status", "my.yaml"]) == 0
    assert capsys.readouterr().out.endswith("start with: captionqa run my.yaml\n")


def test_run_becomes_snakemake(config_path, executed, on_path):
    on_path()
    assert main(["run", "my.yaml", "-n", "--cores", "2"]) == 0
    checkout = captionqa.CHECKOUT
    command = [
        *(sys.executable, "-m", "snakemake", "--configfile", "my.yaml", "--snakefile", str(checkout / "Snakefile")),
        *("--profile", str(checkout / "profiles" / "local"), "-n", "--cores", "2"),
    ]
    assert executed == [(sys.executable, command)]


def test_run_names_the_line_of_a_configuration_that_is_no_yaml(config_path, executed, capsys):
    config_path.write_text("models:\n  tiny: {path: x\nqa: 1")
    assert main(["run", "my.yaml"]) == 1
    assert capsys.readouterr().err.startswith("captionqa: my.yaml line 3: 'qa: 1': ")
    config_path.write_text("models: what --config or the workflow may still change")
    assert main(["run", "my.yaml"]) == 0
    assert len(executed) == 1


def test_a_target_is_not_taken_for_a_second_configuration_file(config_path, executed, on_path):
    on_path()
    main(["run", "my.yaml", "audit"])
    ((_, command),) = executed
    assert command[-2:] == [str(captionqa.CHECKOUT / "profiles" / "local"), "audit"]
    assert command[command.index("--configfile") + 2].startswith("--")


@pytest.mark.parametrize(
    ("programs", "profile", "said"),
    [
        ({}, "local", None),
        ({"srun": ""}, "local", None),
        ({"sbatch": "", "sinfo": "echo debug up"}, "slurm", "a Slurm cluster answers, so the profile is "),
        ({"sbatch": "", "sinfo": "echo error: one >&2; echo sinfo: fatal: no configuration >&2; exit 1"}, "local",
         "no Slurm cluster answers (sinfo: fatal: no configuration), so all runs on this machine"),
        ({"sbatch": "", "sinfo": "exit 3"}, "local", "no Slurm cluster answers (sinfo ends with exit code 3), so"),
        ({"sbatch": "", "sinfo": "exec /bin/sleep 60"}, "local",
         "no Slurm cluster answers (sinfo says nothing for 1 s), so"),
        ({"sbatch": ""}, "local", "no Slurm cluster answers (sinfo: No such file or directory), so"),
    ],
    ids=["no Slurm", "no sbatch", "a cluster", "no configuration", "no word", "hangs", "no sinfo"],
)  # fmt: skip
def test_the_profile_is_slurms_where_a_cluster_answers(
    config_path, on_path, tmp_path, monkeypatch, capsys, programs, profile, said
):
    on_path(*programs)
    for name, script in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
    if "sleep" in programs.get("sinfo", ""):  # the others answer, however busy the machine is
        monkeypatch.setattr(slurm, "ANSWER_TIMEOUT_S", 1.0)
    command = snakemake_command(config_path, [])
    path = captionqa.CHECKOUT / "profiles" / profile
    assert command[command.index("--profile") + 1] == str(path)
    assert (path / "config.yaml").is_file()
    text = capsys.readouterr().err
    assert text.count("\n") == (said is not None)
    other = "local" if profile == "slurm" else "slurm"
    assert said is None or (said in text and text.endswith(f": --profile {path.with_name(other)}\n"))


@pytest.mark.parametrize("options", [["--profile", "mine"], ["-n", "--profile=mine"]])
def test_a_profile_among_the_options_wins(config_path, on_path, options):
    on_path("sbatch")  # and no cluster is asked
    command = snakemake_command(config_path, options)
    assert command[-len(options) :] == options
    assert sum(word.startswith("--profile") for word in command) == 1


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_a_package_without_its_workflow_says_so(name, config_path, tmp_path, monkeypatch, capsys, executed):
    monkeypatch.setattr(captionqa, "CHECKOUT", tmp_path / "site-packages")
    assert main([name, "my.yaml", *NEEDED.get(name, ())]) == 1
    text = capsys.readouterr().err
    assert "was installed without its workflow; run `pip install --editable .` in a clone" in text
    assert text.count("\n") == 1
    assert executed == []


def test_the_errors_are_of_two_kinds(config_path):
    with pytest.raises(UsageError):
        parse(["forget", "my.yaml", "--task", "x"])
    with pytest.raises(ConfigError):
        command_line._load(config_path.with_name("other.yaml"))


def test_the_installed_command_and_its_version_are_the_packages():
    project = tomllib.loads((captionqa.CHECKOUT / "pyproject.toml").read_text())
    module, _, function = project["project"]["scripts"]["captionqa"].partition(":")
    assert getattr(import_module(module), function) is main
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "captionqa.__version__"}
    assert project["tool"]["setuptools"]["package-dir"] == {"": captionqa.WORKFLOW.name}
