"""What can be written on the command line of `captionqa`, and its help."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, get_args

import captionqa
from captionqa.config.config import Task
from captionqa.errors import QUESTION_FAULTS, TRUNCATED, CaptionqaError, Reason

REASONS = (*map(str, Reason), TRUNCATED)
#: The reasons for which `retry-failed` asks again.
RETRIED = ", ".join(reason for reason in Reason if reason not in QUESTION_FAULTS)
SELECTION = (
    "CONFIG [--task captions|qa|judge] [--style STYLE] [--data-set NAME] [--model NAME] [--reason REASON] [--yes]"
)
EXAMPLES = """\
examples:
  captionqa run my.yaml -n       list the jobs that would run
  captionqa run my.yaml          caption and answer; after a stop the same command resumes
  captionqa status my.yaml       how far it is
  captionqa retry-failed my.yaml --task qa --reason timeout

`captionqa COMMAND --help` describes a command."""
RUN = """\
Caption and answer; after a stop the same command resumes.

Starts Snakemake with the profile `slurm` where sbatch is on PATH and a cluster answers, otherwise with `local`.
Options after CONFIG are Snakemake's own, such as
  -n               list the jobs that would run
  --cores N        client jobs at a time on this machine; on Slurm --jobs N
  --keep-going     let the other chunks finish when one fails
  --profile PATH   another profile"""
AUDIT = """\
Say what is wrong or odd with the images and questions, without a server.

Reads image headers only, and lists all findings in audit.tsv in the output folder."""
ESTIMATE = """\
Say how many requests and tokens are left, and how long they will take.

Plans the data, and reads the headers of 500 images and the answers so far; needs no server. The time is by the first of
these that there is, and the estimate says which: the rate of a run that goes on in the output folder, once it is ten
minutes old; that of the last run there; rates that your own runs measured with the model, which are kept in
~/.cache/captionqa/rates.json; a range by arithmetic, for one GPU of several kinds."""
STATUS = """\
Say how far a run is, and whether one is going on.

Reads only the output folder; needs no server."""
RETRY_FAILED = """\
Let the next run ask again for what failed; answers stay.

Says what it is going to do, and asks. Final files stay until the next run replaces them. A faulty row of the question
file is asked again only after it is corrected, and a missing image only when it is there."""
FORGET = """\
Drop answers, so that the next run asks for them again.

Without options it drops all answers of the configured models; with --reason truncated those that ended at max_tokens.
Says what it is going to do, and asks. Final files stay until the next run replaces them. The answers are moved aside
and stay there until the next forget; --undo puts them back, and moves those of a later run aside."""
DATA = """\
Look at questions (columns, three as they would be asked, what is wrong), or at images to caption.

PATH is a parquet, JSONL, JSON, CSV or TSV file, a glob, a folder of shards, of images or of Dataset.save_to_disk, a
tar, or a split of the hub (hf://datasets/ORG/NAME/test). Needs no configuration and no server."""
COMPARE = """\
Compare two QA results files, paired by question.

Prints how much better B is than A, and whether that may be chance. Only questions that both files answer are compared;
one that is in one file alone, that has another text or ground truth in the other, or that failed in one of them is left
out, counted and named. A second line counts failed questions as wrong, as the metrics do. Two runs that are to be
compared need an output_dir or a model name of their own: otherwise the second replaces the results of the first."""


VIEW = """\
Look at all results in a browser.

Serves the results page until Ctrl-C, with all items, where the page on the disk has a sample of very many. Only
browsers on this machine can open it, by the address that it prints."""
PUSH = """\
Put the results of a finished run onto a Hugging Face hub, as a data set with a card.

Pushes captions, answers, metrics, failures, provenance, the comparison and the exports, in one commit; no image, no log
and no work file. REPO_ID is OWNER/NAME, or NAME for your own; it is made if it is not there, and other files in it
stay. The card, README.md, is made from the files of the run and replaces the one before. Nothing that is pushed names a
folder or a node of this machine, or the address of a server. Token and hub are those of huggingface_hub: `hf auth
login` or HF_TOKEN, and HF_ENDPOINT."""


class UsageError(CaptionqaError):
    """The command line cannot be understood."""


class _Parser(argparse.ArgumentParser):
    """Raises UsageError, with the usage in the same line, instead of printing and exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {' '.join(self.format_usage().split())}")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """What a command line asks for: `command` is the name of the subcommand, the rest are its own arguments.

    Prints help and exits where that is asked for. Raises UsageError.
    """
    parser, commands = _parser_and_commands()
    if not words:
        raise UsageError(f"which command? {', '.join(commands)}; captionqa --help describes them")
    if not words[0].startswith("-") and words[0] not in commands:
        raise UsageError(f"there is no command {words[0]!r}; the commands are {', '.join(commands)}")
    options, unknown = parser.parse_known_args(words)
    if unknown:
        commands[options.command].error(f"unknown argument {unknown[0]}")
    return options


def _parser_and_commands() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    parser = _Parser(
        prog="captionqa",
        usage="captionqa COMMAND ...",
        description="Caption images and answer visual questions with a vision-language model behind a vLLM server.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"captionqa {captionqa.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)

    def command(name: str, usage: str, description: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            usage=f"captionqa {name} {usage}",
            help=description.partition("\n")[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def config_command(name: str, usage: str, description: str) -> argparse.ArgumentParser:
        added = command(name, usage, description)
        added.add_argument("config", metavar="CONFIG", type=Path, help="the configuration, such as my.yaml")
        return added

    run = config_command("run", "CONFIG [Snakemake's own options]", RUN)
    rest = run.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    rest.required = False  # else a message about a missing CONFIG names it too
    status = config_command("status", "CONFIG [--data-set NAME]", STATUS)
    status.add_argument("--data-set", metavar="NAME", help="how far this one of several data sets is, file by file")
    config_command("audit", "CONFIG", AUDIT)
    config_command("estimate", "CONFIG", ESTIMATE)
    for name, description in (("retry-failed", RETRY_FAILED), ("forget", FORGET)):
        usage = SELECTION if name == "retry-failed" else f"{SELECTION} [--undo]"
        asking = config_command(name, usage, description)
        _add_selection(asking, RETRIED if name == "retry-failed" else f"{TRUNCATED}, or as retry-failed: {RETRIED}")
        asking.add_argument("--yes", action="store_true", help="do it without asking, as in a script")
    asking.add_argument("--undo", action="store_true", help="bring back what the last forget moved aside")
    data = command("data", "PATH [PATH ...] [--json] [--preset NAME] [--images FOLDER] [--allow-urls]", DATA)
    data.add_argument("paths", metavar="PATH", nargs="+", help="the file, glob or folder, or several")
    data.add_argument("--json", action="store_true", help="print every question as one JSON line")
    data.add_argument("--preset", metavar="NAME", help="read it under this preset, as qa.preset does")
    data.add_argument("--images", metavar="FOLDER", type=Path, help="the folder that image paths are relative to")
    data.add_argument("--allow-urls", action="store_true", help="read it as with qa.allow_urls: true")
    compare = command("compare", "A B [--output FILE] [--page FOLDER [--allow FOLDER]]", COMPARE)
    compare.add_argument("a", metavar="A", type=Path, help="the results file to start from")
    compare.add_argument("b", metavar="B", type=Path, help="the results file to compare with it")
    compare.add_argument(
        "--output", metavar="FILE", type=Path, help="write the comparison as JSON here, with all names"
    )
    compare.add_argument(
        "--page",
        metavar="FOLDER",
        type=Path,
        help="write a page with the questions that one run alone got right, with their images, into this folder",
    )
    compare.add_argument(
        "--allow",
        metavar="FOLDER",
        action="append",
        default=[],
        help="a folder outside of the data that links of its images lead to, as client.images.allowed_roots",
    )
    view = config_command("view", "CONFIG [--data-set NAME] [--port N]", VIEW)
    view.add_argument("--data-set", metavar="NAME", help="look at this one of several data sets")
    view.add_argument("--port", metavar="N", type=int, default=0, help="the port to listen on; by default any free one")
    push = config_command("push", "CONFIG REPO_ID [--private] [--dry-run]", PUSH)
    push.add_argument("repository", metavar="REPO_ID", help="the data set repository, such as me/birds-captions")
    push.add_argument("--private", action="store_true", help="make it private; a public one that is there is refused")
    push.add_argument(
        "--dry-run", action="store_true", help="list the files with their bytes and print the card; push nothing"
    )
    return parser, commands.choices


def _add_selection(parser: argparse.ArgumentParser, reasons: str) -> None:
    """The options that say which items are meant; `--half` is the former name of `--task`.

    `reasons` are those that help names.
    """
    tasks = get_args(Task)
    task = _one_of("--task", tasks)
    parser.add_argument("--task", metavar="TASK", type=task, help=f"only this task: {', '.join(tasks)}")
    parser.add_argument("--half", type=task, dest="task", help=argparse.SUPPRESS)
    parser.add_argument("--style", metavar="STYLE", help="only the captions of this prompt style")
    parser.add_argument("--data-set", metavar="NAME", help="only this one of several data sets")
    parser.add_argument("--model", metavar="NAME", help="only what this one of several models answered")
    reason = _one_of("--reason", REASONS)
    parser.add_argument("--reason", metavar="REASON", type=reason, help=f"only these items: {reasons}")


def _one_of(option: str, allowed: Sequence[str]) -> Callable[[str], str]:
    """A check of an option's value that raises UsageError."""

    def check(value: str) -> str:
        if value not in allowed:
            raise UsageError(f"{option} {value}: must be {', '.join(allowed[:-1])} or {allowed[-1]}")
        return value

    return check
