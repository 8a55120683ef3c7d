"""Contexts: what a question is asked with in place of its images, and what the files of each are called."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

#: Its images as they are, their captions, nothing, or gray pictures of the same sizes.
ContextKind = Literal["image", "caption", "none", "gray"]
#: What the suffix of a context begins with where a reader answers from another model's captions.
READ = "_with_"
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
    #: Of captions of this run: the model that made them, where another one answers from them (`qa.reader`).
    captioner: str | None = None

    @property
    def name(self) -> str:
        """As in the names of files."""
        return self.kind if self.captions is None else f"{self.kind}_{self.captions.lower()}"

    @property
    def is_of_run(self) -> bool:
        """Whether it is of captions that this run makes."""
        return self.captions is not None and self.file is None

    @property
    def sends_pictures(self) -> bool:
        """Whether its requests have images, gray ones included."""
        return self.kind in ("image", "gray")

    @property
    def suffix(self) -> str:
        """What follows `qa` in the names of files; nothing for images, the context of earlier versions.

        Where a reader answers it follows the reader's name, as in READER_with_MODEL_STYLE.
        """
        if self.captioner is not None and self.captions is not None:
            return f"{READ}{self.captioner}_{self.captions.lower()}"
        return "" if self.kind == "image" else f"_{self.name}"

    @property
    def title(self) -> str:
        """As a person reads it: `qa`, `qa none`, `qa caption SHORT`, `qa caption SHORT of MODEL`."""
        parts = ["qa", *([] if self.kind == "image" else [self.kind]), *([self.captions] if self.captions else [])]
        return " ".join([*parts, *([] if self.captioner is None else ["of", self.captioner])])

    def captioned_by(self, model: str) -> str:
        """The model whose captions `model` answers from."""
        return self.captioner or model


IMAGES = Context("image")


def question_contexts(
    kinds: Sequence[ContextKind], prompt_styles: Sequence[str], captions_from: Mapping[str, str]
) -> list[Context]:
    """The contexts of `qa.contexts`: `caption` stands for one of each prompt style and of each file of captions."""
    of_captions = [Context("caption", style) for style in prompt_styles]
    of_captions += [Context("caption", name, path) for name, path in captions_from.items()]
    return [context for kind in kinds for context in (of_captions if kind == "caption" else [Context(kind)])]


def with_pictures(contexts: Iterable[Context]) -> list[Context]:
    """The contexts that are left to a model where a reader answers from its captions.

    Those with pictures, and nothing for comparison with these.
    """
    given = [context for context in contexts if context.kind != "caption"]
    return given if any(context.sends_pictures for context in given) else []


def without_pictures(contexts: Iterable[Context], captioners: Sequence[str]) -> list[Context]:
    """The contexts in which a reader answers: those with captions of each of these models, or of files, and nothing."""
    return [
        each
        for context in contexts
        if not context.sends_pictures
        for each in ([replace(context, captioner=name) for name in captioners] if context.is_of_run else [context])
    ]
