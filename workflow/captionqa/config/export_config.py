"""The part of the configuration about exports; its keys are explained in config/config.yaml."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ExportConfig:
    """`export`: the formats in which results are written once more."""

    #: Formats of the captions of each prompt style, and of the answers.
    captions: Sequence[str]
    qa: Sequence[str]
    #: The most MB of a file.
    shard_mb: int
    #: Whether captions that ended at max_tokens are among those exported.
    truncated: Literal["keep", "leave_out"]
