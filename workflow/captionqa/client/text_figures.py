"""Figures of a caption's text. The job that got it takes them, so that merging need not look into its words."""

from typing import TypedDict

#: Words of the parts that are looked for twice in a text.
REPEATED_WORDS = 4


class TextFigures(TypedDict):
    """Figures of one text."""

    #: What blanks separate.
    words: int
    #: See `repeated_share`; None for less than four words.
    repetition: float | None


def text_figures(text: str) -> TextFigures:
    """The figures of a text."""
    words = text.split()
    return {"words": len(words), "repetition": repeated_share(words) if len(words) >= REPEATED_WORDS else None}


def repeated_share(words: list[str]) -> float:
    """seq-rep-4 of at least four words: 1 - (different 4-grams / 4-grams).

    Source: Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training", there over tokens.
    """
    different = set(zip(*(words[start:] for start in range(REPEATED_WORDS)), strict=False))
    return 1 - len(different) / (len(words) - REPEATED_WORDS + 1)
