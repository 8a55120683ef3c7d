"""The environment that a run's jobs inherit: by it their processes import this checkout's modules."""

import os

from captionqa import WORKFLOW


def prefer_checkout() -> None:
    """Put this checkout ahead of installed packages in the processes that this one starts.

    Snakemake adds the workflow folder to a script's module path behind site-packages, where another version may
    be installed.
    """
    folders = [str(WORKFLOW), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, folders)))
