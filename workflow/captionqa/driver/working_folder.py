"""The folder that the workflow runs in: Snakemake keeps there, in `.snakemake`, the scripts that it runs."""

import grp
import os
import pwd
import stat
from pathlib import Path

SNAKEMAKE_FOLDER = ".snakemake"


def sharing_warning(folder: Path) -> str | None:
    """A warning where other users can replace those scripts, and so run what they like as this user; else None."""
    for place in (folder, folder / SNAKEMAKE_FOLDER):
        if place.is_dir() and _is_shared(place.stat()):
            return (
                f"other users may write in {place}, so they can change the scripts that Snakemake runs there; start "
                "the workflow from a folder of your own."
            )
    return None


def _is_shared(found: os.stat_result) -> bool:
    by_group = found.st_mode & stat.S_IWGRP and not _is_private_group(found.st_gid)
    return found.st_uid != os.geteuid() or bool(found.st_mode & stat.S_IWOTH or by_group)


def _is_private_group(group: int) -> bool:
    """Whether a group is this user's alone: it has the user's name then, by the custom of most systems."""
    try:
        return grp.getgrgid(group).gr_name == pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
