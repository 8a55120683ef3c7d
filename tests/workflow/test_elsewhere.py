"""The workflow as a part of another one: included it works; where its hooks would not be called it is refused."""

import json
import re
import subprocess
import sys
import textwrap
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from projects import MODEL, ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "elsewhere.md").read_text()
OWN = textwrap.dedent(re.search(r'^    configfile: "my\.yaml"\n(?:(?:    .*)?\n)+', PAGE, re.MULTILINE)[0])
MODULE = 'module captionqa:\n    snakefile: "/path/to/captionqa/workflow/Snakefile"\n    config: config\n'


def snakemake(project, text, *options):
    """The exit code and the output of Snakemake with a Snakefile of the project's own, in the project's folder."""
    project.save()
    (project.folder / "Snakefile").write_text(text.replace("/path/to/captionqa", str(ROOT)))
    command = [sys.executable, "-m", "snakemake", "--profile", str(ROOT / "profiles" / "local"), *options]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_a_workflow_that_includes_it_uses_its_results(completed):
    code, text = snakemake(completed, OWN)
    assert code == 0, text
    size = (completed.folder / "size.txt").read_text().split()
    captions = completed.out / "captions" / MODEL / f"{MODEL}_simple.json"
    assert size == [str(captions.stat().st_size), str(captions.relative_to(completed.folder))]
    assert len(json.loads(captions.read_text())) == 10
    assert "captionqa: done" in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f'configfile: "my.yaml"\n{MODULE}use rule * from captionqa\n', "cannot be used through `module:`"),
        (f"{OWN}\nonsuccess:\n    print('mine')\n", "defines onstart, onsuccess or onerror"),
    ],
    ids=["module", "hooks"],
)
def test_a_workflow_that_would_lose_its_hooks_is_refused_before_any_job(project, text, reason):
    code, printed = snakemake(project, text)
    assert code == 1
    assert [line for line in printed.splitlines() if line.startswith("captionqa: ") and reason in line], printed
    assert "Traceback" not in printed
    assert not (project.out / "work" / MODEL / "server" / "lease.json").exists()
    assert not project.requests()


def test_a_snakefile_at_an_address_is_refused_in_one_sentence(project):
    handler = partial(SimpleHTTPRequestHandler, directory=ROOT)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/workflow/Snakefile"
        code, printed = snakemake(project, "", "--snakefile", address, "--configfile", "my.yaml")
        server.shutdown()
    assert code == 1
    assert "captionqa: this workflow needs the files beside it, so it cannot run from an address; clone" in printed
    assert "Traceback" not in printed
