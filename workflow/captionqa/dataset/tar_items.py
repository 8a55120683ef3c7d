"""The images of a tar, and what they are called: by the key of their sample, as WebDataset has it."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from captionqa.dataset.image_format import has_image_suffix
from captionqa.dataset.image_ref import MemberRef
from captionqa.dataset.shard_item import ShardItem
from captionqa.dataset.skipped_files import has_apple_double_name, system_kind
from captionqa.dataset.tar_members import tar_members

#: Leading `./` of a name in a tar.
_HERE = re.compile(r"(?:\./+)+")
#: A member's name: the key that the members of one sample share, up to the first dot of the file's name, and the rest.
_KEY = re.compile(r"((?:.*/|)[^./]+)\.[^/]*", re.DOTALL)


class _Image(NamedTuple):
    key: str
    #: Its name in the tar without `./`.
    name: str
    offset: int
    ref: MemberRef


def tar_items(path: Path, container: str) -> Iterator[ShardItem]:
    """Yield the images of a tar; `container` is its path in references and in messages.

    An image is called by its sample's key; where a sample has several images, or a key comes again, by its own name.

    Raises:
        InputError: the tar is empty, compressed, cut or damaged.
        OSError: it cannot be read.
    """
    taken: set[str] = set()
    for _, sample in groupby(_images(path, container), key=lambda image: image.key):
        for name, image in _named(list(sample), taken):
            taken.add(name)
            yield ShardItem(name, f"{container}/{name}", [str(image.ref)], (0, image.offset))


def sample_key(member: str) -> tuple[str, str]:
    """The key of the sample that a member belongs to, and the member's name without `./`."""
    name = member[here.end() :] if (here := _HERE.match(member)) else member
    return found[1] if (found := _KEY.fullmatch(name)) else name, name


def _images(path: Path, container: str) -> Iterator[_Image]:
    for member, offset, size in tar_members(path, container):
        if not has_image_suffix(member):
            continue
        key, name = sample_key(member)
        if system_kind(name) or has_apple_double_name(name):
            continue
        yield _Image(key, name, offset, MemberRef(container, offset, size, member))


def _named(sample: list[_Image], taken: set[str]) -> Iterable[tuple[str, _Image]]:
    if len(sample) == 1 and sample[0].key not in taken:
        yield sample[0].key, sample[0]
        return
    for image in sample:
        yield image.name if image.name not in taken else f"{image.name}#{image.offset}", image
