"""How the package is laid out: its rooms and what they may import, and where its modules find the checkout."""

import ast
import re
import subprocess
import sys

import captionqa
import pytest
from captionqa.config.check import SCHEMA
from captionqa.server.vllm_command import CHECKOUT, SERVER_ENVIRONMENT

GROUND = ("errors", "files", "external_sort", "list_text", "reasoning", "shown_text", "threads")
#: Each room may import from those before it.
ROOMS = ("config", "grading", "dataset", "run", "server", "client", "results", "export", "page", "push", "driver")
MODULES = sorted(captionqa.PACKAGE.rglob("*.py"))


def room_of(name):
    """The room of a dotted module name, "ground" for the modules beside the rooms."""
    part = name.split(".")[1] if "." in name else ""
    return part if part in ROOMS else "ground"


def imported(path):
    """The dotted names of this package that a module imports, also within its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("captionqa."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("captionqa"):
            # `from captionqa import files` names a module, `from captionqa import WORKFLOW` does not
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module == "captionqa" else [node.module]


def offences(path, room):
    """What a module of a room imports from rooms that it may not know; the ground knows itself alone."""
    allowed = {"ground"} | (set() if room == "ground" else set(ROOMS[: ROOMS.index(room) + 1]))
    return [name for name in imported(path) if room_of(name) not in allowed]


def test_every_module_is_in_a_room_or_on_the_ground():
    found = {path.relative_to(captionqa.PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert found == {*GROUND, *ROOMS, "__init__", "__main__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(captionqa.PACKAGE)))
def test_a_module_imports_only_from_its_room_and_those_above(path):
    if path.name == "__main__.py":  # the command stands on the roof
        return
    parts = path.relative_to(captionqa.PACKAGE).parts
    assert offences(path, parts[0] if len(parts) > 1 else "ground") == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("dataset", "from captionqa.client import journal"),
        ("server", "def f():\n    from captionqa.results.metrics import Tally"),
        ("ground", "from captionqa.config.layout import Layout"),
        ("client", "import captionqa.driver.summary"),
        ("run", "from captionqa import driver"),
    ],
)
def test_an_import_from_a_room_below_is_seen(tmp_path, room, line):
    module = tmp_path / "module.py"
    module.write_text(line)
    assert len(offences(module, room)) == 1


def test_the_packages_own_description_lists_the_rooms_in_their_order():
    assert re.findall(r"^    (\w+)/ ", captionqa.__doc__, re.MULTILINE) == list(ROOMS)
    assert all(name in captionqa.__doc__ for name in GROUND)


def test_the_guard_in_vllm_loads_only_what_needs_the_standard_library_alone():
    """The server's environment has none of the client's packages."""
    package = ("captionqa", "captionqa.server")
    own = [f"captionqa.server.{name}" for name in ("heartbeat", "key_guard", "server_process")]
    imported = "import sys, captionqa.server.heartbeat, captionqa.server.key_guard"
    listing = f"{imported}; print(*(name for name in sys.modules if 'captionqa' in name))"
    done = subprocess.run([sys.executable, "-c", listing], cwd=captionqa.WORKFLOW, capture_output=True, text=True)
    assert sorted(done.stdout.split()) == [*package, *own], done.stderr


@pytest.mark.parametrize(
    ("module", "also", "left_out"),
    [
        ("dataset.final_files", "captionqa.dataset.judged_answers", "captionqa.grading.ground_truth"),
        ("dataset.planning", "captionqa.grading.choices", "captionqa.grading.ground_truth"),
        ("driver.run_end", "captionqa.driver.summary", "captionqa.grading.ground_truth"),
        ("driver.run_end", "captionqa.driver.summary", "captionqa.page.grid"),
        ("server.lifecycle", "captionqa.server.running_server", "requests"),
        ("page.results_page", "captionqa.page.run_figures", "requests"),
    ],
    ids=["naming files", "planning", "the end", "the end of one data set", "a release", "a page"],
)
def test_what_every_run_does_imports_nothing_that_only_some_need(module, also, left_out):
    """Each job that Slurm runs starts the workflow twice."""
    listing = f"import sys, captionqa.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", listing], cwd=captionqa.WORKFLOW, capture_output=True, text=True)
    imported = done.stdout.split()
    assert also in imported, done.stderr
    assert left_out not in imported


#: What only a server, data sets of tables or at addresses, captions as context, or a judge needs.
NOT_OF_EACH_CHUNK = {
    "asyncio",
    "captionqa.client.image_pace",
    "captionqa.client.question_captions",
    "captionqa.config.data_sets",
    "captionqa.config.judge_config",
    "captionqa.dataset.row_groups",
    "captionqa.dataset.url_image",
    "captionqa.server.chosen_options",
    "statistics",
    "subprocess",
}


def test_a_chunk_job_imports_nothing_that_only_some_of_them_need():
    """Each of a run's jobs would spend a twentieth of a second on it."""
    listing = "import sys, captionqa.client.chunk_run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", listing], cwd=captionqa.WORKFLOW, capture_output=True, text=True)
    imported = set(done.stdout.split())
    assert "captionqa.server.key_guard" in imported, done.stderr
    assert not NOT_OF_EACH_CHUNK & imported


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
