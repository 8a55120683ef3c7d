# Where the workflow may run: from its checkout, as a part of the main Snakefile. Elsewhere its package is missing, or
# Snakemake calls no hook of it: then no lease is kept, and nothing would end the server.
import gc
import sys
from pathlib import Path

#: The folder of workflow/Snakefile, where that is not read from an address.
WORKFLOW_FOLDER = Path(workflow.current_basedir.get_path_or_uri(secret_free=False)).parent
INSTEAD = (
    "clone the repository and use `captionqa run CONFIG`, or `include:` the clone's workflow/Snakefile in yours "
    "(docs/elsewhere.md)"
)

# What Snakemake has loaded so far stays: the collector of garbage would look through all of it again and again.
gc.freeze()

if not workflow.modifier.is_main_snakefile():
    sys.exit(
        "captionqa: this workflow cannot be used through `module:`, since Snakemake calls no hook of a module and nothing "
        f"would end its server; {INSTEAD}."
    )

if not (WORKFLOW_FOLDER / "captionqa" / "__init__.py").is_file():
    sys.exit(f"captionqa: this workflow needs the files beside it, so it cannot run from an address; {INSTEAD}.")


def hooks():
    return workflow._onstart, workflow._onsuccess, workflow._onerror


def check_hooks():
    """End the process where another Snakefile has replaced a hook of this workflow."""
    if hooks() != HOOKS:
        sys.exit(
            "captionqa: the Snakefile that includes this workflow defines onstart, onsuccess or onerror, which replaces "
            "captionqa's, and nothing would end its server; remove them, or use `captionqa run CONFIG`."
        )
