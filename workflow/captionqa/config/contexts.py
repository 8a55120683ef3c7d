"""Contexts: what a question is asked with in place of its images, and what the files of each are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

#: Its images as they are, their captions, nothing, or gray pictures of the same sizes.
ContextKind = Literal["image", "caption", "none", "gray"]
#: What the one file of `qa.captions_from` is called where the configuration gives it no name.
UNNAMED = "file"


@dataclass(frozen=True)
class Context:
    """One context of the questions, which has chunks and final files of its own."""

    kind: ContextKind
    #: Of captions: the prompt style of this run's, or the name of those of a file.
    captions: str | None = None
    #: Of captions from a file: its path.
    file: str | None = None

    @property
    def name(self) -> str:
        """As in the names of files."""
        return self.kind if self.captions is None else f"{self.kind}_{self.captions.lower()}"

    @property
    def is_of_run(self) -> bool:
        """Whether it is of captions that this run makes."""
        return self.captions is not None and self.file is None

    @property
    def suffix(self) -> str:
        """What follows `qa` in the names of files; nothing for images, the context of earlier versions."""
        return "" if self.kind == "image" else f"_{self.name}"

    @property
    def title(self) -> str:
        """As a person reads it: `qa`, `qa none`, `qa caption SHORT`."""
        parts = ["qa", *([] if self.kind == "image" else [self.kind]), *([self.captions] if self.captions else [])]
        return " ".join(parts)


IMAGES = Context("image")


def question_contexts(
    kinds: Sequence[ContextKind], prompt_styles: Sequence[str], captions_from: Mapping[str, str]
) -> list[Context]:
    """The contexts of `qa.contexts`: `caption` stands for one of each prompt style and of each file of captions."""
    of_captions = [Context("caption", style) for style in prompt_styles]
    of_captions += [Context("caption", name, path) for name, path in captions_from.items()]
    return [context for kind in kinds for context in (of_captions if kind == "caption" else [Context(kind)])]
