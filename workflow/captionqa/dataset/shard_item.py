"""What a shard, a file with many images, says about one item."""

from typing import NamedTuple


class ShardItem(NamedTuple):
    """One item of a shard."""

    #: Its name if no other item has it: a path, a key or an id.
    name: str
    #: Its name else, which is unique.
    own_name: str
    #: The references of its images, as texts.
    images: list[str]
    #: Where in the shard it is: (row group, row), or (0, offset).
    position: tuple[int, int]
