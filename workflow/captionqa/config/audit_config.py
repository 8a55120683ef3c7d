"""The section `audit`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class AuditConfig:
    """`audit`: the findings that stop a run before its server starts."""

    stop_on: Sequence[str]
