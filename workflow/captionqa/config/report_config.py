"""The section `report`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportConfig:
    """`report`: what shows the results."""

    #: Whether a run makes the page.
    page: bool
