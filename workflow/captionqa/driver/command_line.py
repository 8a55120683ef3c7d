"""The command `captionqa`: what each subcommand does, and with which exit code it ends.

A function imports what its subcommand alone needs, so that `captionqa --help` stays fast.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import captionqa
from captionqa.config.config import Config
from captionqa.config.layout import Layout
from captionqa.driver.command_parser import UsageError, parse
from captionqa.driver.terminal import answer_to, log_to_terminal, print_message, show
from captionqa.errors import TRUNCATED, CaptionqaError, ConfigError, InputError
from captionqa.shown_text import printable

EXIT_FAILED = 1
EXIT_USAGE = 2
#: What shells report for a command that Ctrl-C ended: 128 + SIGINT.
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code; `arguments` are by default the process's own."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        COMMANDS[options.command](options)
    except UsageError as error:
        print_message(str(error))
        return EXIT_USAGE
    except CaptionqaError as error:
        print_message(str(error))
        return EXIT_FAILED
    except BrokenPipeError:  # such as `captionqa status my.yaml | head -1`; Python flushes stdout once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        print_message(f"{printable(str(error.filename))}: {error.strerror}" if error.filename else str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def snakemake_command(config: Path, options: Sequence[str]) -> list[str]:
    """The command that runs the workflow on a configuration; `options` are Snakemake's own.

    The profile is that of the options, or else the checkout's: for Slurm where sbatch is on PATH and a cluster answers.

    Raises:
        ConfigError: the package was installed without its workflow.
    """
    _check_checkout()
    named = any(option == "--profile" or option.startswith("--profile=") for option in options)
    return [
        *(sys.executable, "-m", "snakemake"),
        # not last: Snakemake would take a target behind it for a second configuration file
        *("--configfile", str(config)),
        *("--snakefile", str(captionqa.CHECKOUT / "Snakefile")),
        *(() if named else ("--profile", str(_profile()))),
        *options,
    ]


def _profile() -> Path:
    """The checkout's profile for this machine; says which it is, and why, where Slurm's programs are there."""
    from captionqa.server.slurm import no_answer

    local, slurm = (captionqa.CHECKOUT / "profiles" / name for name in ("local", "slurm"))
    if not shutil.which("sbatch"):
        return local
    if (fault := no_answer()) is None:
        print_message(
            f"a Slurm cluster answers, so the profile is {slurm}; to run all on this machine: --profile {local}"
        )
        return slurm
    print_message(
        f"no Slurm cluster answers ({printable(fault)}), so all runs on this machine; once one does: --profile {slurm}"
    )
    return local


def _run(options: argparse.Namespace) -> None:
    from captionqa.config.yaml_text import read_yaml

    _check_file(options.config)
    read_yaml(options.config)  # its error names the line, which Snakemake's does not
    command = snakemake_command(options.config, options.options)
    os.execv(command[0], command)


def _status(options: argparse.Namespace) -> None:
    from captionqa.driver.status import read_status, status_text

    config = _chosen_data_sets(options)
    show(status_text(read_status(config, config.layout()), options.config))


def _audit(options: argparse.Namespace) -> None:
    from captionqa.dataset.audit import run_audit
    from captionqa.dataset.hub_data import plan_hub_data

    config, layout = _load(options.config)
    log_to_terminal()
    run_audit(plan_hub_data(config, layout), layout)


def _estimate(options: argparse.Namespace) -> None:
    from captionqa.dataset.hub_data import plan_hub_data
    from captionqa.dataset.planning import plan_all
    from captionqa.driver.estimate import estimate_text

    config, layout = _load(options.config)
    log_to_terminal()
    config = plan_hub_data(config, layout)
    plan_all(config, layout)
    show(estimate_text(config, layout))


def _retry_failed(options: argparse.Namespace) -> None:
    from captionqa.results.ask_again import question_faults, retry_failed

    if options.reason == TRUNCATED:
        raise ConfigError("truncated is a flag on an answer, not a failure: use forget.")
    config = _chosen_data_sets(options)
    faults = question_faults(config, options.task, options.style, options.model)
    retry = retry_failed(config, options.task, options.style, options.reason, options.model)
    show(retry.text())
    if faults and options.reason is None:
        reasons = ", ".join(f"{items} {reason}" for reason, items in faults.items())
        show(f"Not asked again: {reasons}. Correct these in the question file and run again.")
    if retry.items:
        _confirm(options, config)
        retry.apply()


def _forget(options: argparse.Namespace) -> None:
    from captionqa.results.forgetting import forget, undo_forget

    if options.undo and options.reason is not None:
        raise UsageError("--undo brings back all that was moved aside; leave out --reason")
    if options.reason not in (None, TRUNCATED) and not options.undo:
        return _retry_failed(options)
    config = _chosen_data_sets(options)
    if options.undo:
        undo = undo_forget(config, options.task, options.style, options.model)
        said = undo.text()  # before the counts change
        undo.apply()
        return show(said)
    only_truncated = options.reason == TRUNCATED
    forgetting = forget(config, options.task, options.style, only_truncated, options.model)
    show(forgetting.text())
    if forgetting.has_effect:
        _confirm(options, config)
        items = forgetting.apply()
        forgotten = f"{items:,} {'item was' if items == 1 else 'items were'} forgotten"
        show(f"{forgotten} and will be asked again by the next run.")


def _compare(options: argparse.Namespace) -> None:
    from captionqa.files import write_json
    from captionqa.results.compare_runs import compare, table

    comparison = compare(options.a, options.b)
    if options.output:
        write_json(options.output, comparison)
    show(table(comparison))
    if options.page:
        from captionqa.page.comparison_page import write_comparison_page

        written = write_comparison_page(comparison, options.page, options.allow)
        show(f"\nlook at the questions that one run alone got right: {written}")


def _view(options: argparse.Namespace) -> None:
    import getpass
    import socket
    from contextlib import suppress

    from captionqa.driver.phases import PHASES
    from captionqa.page.live_grid import LiveGrid
    from captionqa.page.live_page import LivePage
    from captionqa.page.page_server import ADDRESS, PageServer, serve

    config = _chosen_data_sets(options)
    layout, page = config.layout(), LiveGrid if config.named else LivePage

    def say(server: PageServer) -> None:
        port = server.server_address[1]
        show(f"look at the results in a browser on this machine: {server.url}")
        here = f"{getpass.getuser()}@{socket.gethostname()}"
        show(f"for a browser on another machine, run there first: ssh -L {port}:{ADDRESS}:{port} {here}")
        show("Ctrl-C ends it")

    with suppress(KeyboardInterrupt):
        serve(lambda folder: page(config, layout, folder, PHASES), options.port, say)


def _push(options: argparse.Namespace) -> None:
    from captionqa.push.hub import check_repo_id
    from captionqa.push.push import prepared_push

    config, layout = _load(options.config)
    check_repo_id(options.repository)
    with prepared_push(config, layout, options.repository) as push:
        show(push.text() if options.dry_run else push.apply(options.private))


def _data(options: argparse.Namespace) -> None:
    from captionqa.config.hub_record import is_hub_path
    from captionqa.dataset.hub_data import fetch
    from captionqa.driver.data_view import DataView, look_at, view_text
    from captionqa.driver.image_view import ImageView, look_at_images
    from captionqa.files import json_line

    paths = [fetch(path)["path"] if is_hub_path(path) else path for path in options.paths]
    view: DataView | ImageView
    try:
        view = look_at(paths, options.preset, options.images, options.allow_urls)
    except InputError:
        if options.preset or len(paths) > 1 or (images := look_at_images(paths[0])) is None:
            raise
        view = images
    if not options.json:
        return show(view.text() if isinstance(view, ImageView) else view_text(view))
    for item in view.items():
        sys.stdout.write(json_line(item))
    sys.stdout.flush()
    for sentence in view.wrong():
        print_message(sentence)


COMMANDS = {
    "run": _run,
    "status": _status,
    "audit": _audit,
    "estimate": _estimate,
    "retry-failed": _retry_failed,
    "forget": _forget,
    "compare": _compare,
    "view": _view,
    "push": _push,
    "data": _data,
}


def _confirm(options: argparse.Namespace, config: Config) -> None:
    """Ask the person at the terminal whether to go on, unless `--yes` says so.

    Raises:
        UsageError: nobody can be asked.
        ConfigError: the answer is no, or a run has begun while the question stood there.
    """
    from captionqa.results.result_set import check_no_run

    answer = "yes" if options.yes else answer_to("Go on? [y/N] ")
    if answer is None:
        raise UsageError("nothing was changed, since nobody can be asked without a terminal; add --yes (make: YES=1)")
    if answer.strip().lower() not in ("y", "yes"):
        raise ConfigError("nothing was changed.")
    check_no_run(config, config.layout())


def _chosen_data_sets(options: argparse.Namespace) -> Config:
    """The configuration of a command, or what it is for the data set of its options; raises ConfigError."""
    config, _ = _load(options.config)
    if options.data_set is None:
        return config
    if options.data_set not in config.named:
        known = f"its data sets are {', '.join(config.named)}" if config.named else "it names no data sets"
        raise ConfigError(f"--data-set {options.data_set}: {options.config} has none of that name; {known}.")
    return config.of_data_set(options.data_set)


def _load(path: Path) -> tuple[Config, Layout]:
    """A checked configuration and the paths of its run; raises ConfigError."""
    _check_checkout()
    _check_file(path)
    from captionqa.config.check import load_config

    config = load_config(path)
    return config, config.layout()


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")


def _check_checkout() -> None:
    """Raise ConfigError where the workflow is not around this package, as after an install that copied it."""
    if not (captionqa.CHECKOUT / "Snakefile").is_file():
        raise ConfigError(
            f"the package in {captionqa.PACKAGE} was installed without its workflow; run "
            "`pip install --editable .` in a clone of its repository."
        )
