"""The captions of one prompt style, or one more sample of them; each is a final file of its own."""

from collections.abc import Iterable
from dataclasses import dataclass

#: How the names end of the files that stand beside captions.
COMPANIONS = ("_failures", "_provenance", "_statistics")


@dataclass(frozen=True)
class CaptionSet:
    """One final file of captions."""

    style: str
    #: From 1; the first sample has the names and the requests of a run without further ones.
    sample: int = 1

    @property
    def key(self) -> str:
        """As in the names of files and folders: `simple`, `simple_sample2`."""
        return self.style.lower() + ("" if self.sample == 1 else f"_sample{self.sample}")

    @property
    def title(self) -> str:
        """As a person reads it: `SIMPLE`, `SIMPLE sample 2`."""
        return self.style + ("" if self.sample == 1 else f" sample {self.sample}")


def caption_sets(styles: Iterable[str], samples: int) -> list[CaptionSet]:
    """All captions of these prompt styles, the samples of a style one after another."""
    return [CaptionSet(style, sample) for style in styles for sample in range(1, samples + 1)]
