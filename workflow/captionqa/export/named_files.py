"""Formats that name image files: the path that they give, and what does not fit them."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from captionqa.dataset.image_ref import FileRef, ImageRef
from captionqa.errors import ResultError

#: Formats that name one image file for each caption, by its path in the data set's folder.
NAMING_FORMATS = ("imagefolder", "llava", "coco")
_INSTEAD = "use webdataset, jsonl or parquet in its place"


def file_path(name: str, images: Sequence[str], form: str) -> str:
    """The path of a caption's image relative to the data set's folder; `form` is the format.

    Raises:
        ResultError: there is no such path, in one sentence.
    """
    where = f"export.captions: {form} "
    if len(images) != 1:
        raise ResultError(f"{where}names one image for each caption, and {name!r} has {len(images)}; {_INSTEAD}.")
    ref = ImageRef.parse(images[0])
    if not isinstance(ref, FileRef):
        raise ResultError(f"{where}names image files, and {name!r} is inside of another file; {_INSTEAD}.")
    path = PurePosixPath(ref.path)
    if path.is_absolute() or ".." in path.parts:
        raise ResultError(
            f"{where}names files by their path in the data set's folder, and {ref.path!r} is outside; {_INSTEAD}."
        )
    try:
        ref.path.encode()
    except UnicodeEncodeError:
        raise ResultError(
            f"{where}has names in UTF-8, and {ref.path!r} is not; rename the file, or {_INSTEAD}."
        ) from None
    return ref.path
