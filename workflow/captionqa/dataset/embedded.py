"""What a cell holds in place of an image's bytes, which planning never keeps."""

from typing import Final, NamedTuple


class Embedded(NamedTuple):
    """Stands for the bytes of an image in a cell."""

    #: Their number, where the cell was looked at; else 0.
    size: int = 0


#: The bytes of a cell that was not read.
EMBEDDED: Final = Embedded()
