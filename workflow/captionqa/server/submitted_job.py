"""The id of a job that sbatch has just submitted, also where a site's wrapper prints text of its own around it."""

import re

from captionqa.server import slurm

#: What `sbatch --parsable` prints: the job's id and, with several clusters, the cluster's name.
PARSABLE = re.compile(r"(\d+)(?:;\S+)?")
NUMBER = re.compile(r"\b\d+\b")


def submitted_job(output: str, name: str) -> str | None:
    """The id of the submitted job of this name in sbatch's output; None where it cannot be told.

    A line of the form that --parsable has is the id. Where there are several or none, Slurm is asked which of the
    numbers is a job of this name.
    """
    lines = [match[1] for line in output.splitlines() if (match := PARSABLE.fullmatch(line.strip()))]
    if len(lines) == 1:
        return lines[0]
    named = set(lines or NUMBER.findall(output)) & slurm.named(name)
    return named.pop() if len(named) == 1 else None
