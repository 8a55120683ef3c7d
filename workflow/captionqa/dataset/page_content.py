"""The content of a page of a parquet file, of which parts are read from the file on their own.

Images hardly shrink, so snappy keeps nearly all of their bytes as they are, between its tags. Only the tags are read to
know where the bytes are; blocks of 64 KB that it did shrink are decompressed one by one.

Source: https://github.com/google/snappy, format_description.txt.
"""

import os
from bisect import bisect_right
from collections import OrderedDict
from typing import BinaryIO, NamedTuple

from captionqa.dataset.parquet_encoding import NotUnderstoodError, varint

#: Bytes of content that snappy compresses on their own.
BLOCK_BYTES = 1 << 16
#: Decompressed blocks that are kept of a column: threads ask for cells nearly in their order.
KEPT_BLOCKS = 16
#: Bytes of the longest tag, and bytes that are read at one: the next ones may be near.
MAX_TAG_BYTES, TAG_BYTES = 5, 512
#: With more tags than one in so many bytes, pyarrow is faster.
BYTES_A_TAG = 256
#: The first two bits of a tag; the longest literal whose length is in the tag itself.
LITERAL, COPY_1, LONGEST = 0, 1, 60


class _Part(NamedTuple):
    """A part of the content: where it begins and ends in the file, and whether the bytes there are the content."""

    start: int
    end: int
    is_plain: bool


class PageFile:
    """An open file whose pages are read, and the blocks of all of them that were decompressed last.

    Not safe to share between threads.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        #: By where they are in the file.
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def read_up_to(self, start: int, size: int) -> bytes:
        """So many bytes, or fewer where the file ends; raises OSError."""
        return os.pread(self._file.fileno(), size, start)

    def read(self, start: int, size: int) -> bytes:
        """So many bytes; raises NotUnderstoodError where the file ends before, or OSError."""
        content = self.read_up_to(start, size)
        if len(content) != size:
            raise NotUnderstoodError("a part of the file")
        return content

    def will_read(self, start: int, size: int) -> None:
        """Let the system fetch a part that is to be read soon."""
        os.posix_fadvise(self._file.fileno(), start, size, os.POSIX_FADV_WILLNEED)

    def block(self, start: int, end: int, size: int) -> bytes:
        """A block that snappy has compressed to the bytes between two places; raises as `PageContent.read`."""
        if start not in self._blocks:
            self._blocks[start] = self._read_block(start, end, size)
            if len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(start)
        return self._blocks[start]

    def _read_block(self, start: int, end: int, size: int) -> bytes:
        import pyarrow as pa

        # the compressed bytes of a page begin with its size; a block has at most three times seven bits
        head = bytes((size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14))
        content = head + self.read(start, end - start)
        plain: bytes = pa.Codec("snappy").decompress(content, decompressed_size=size, asbytes=True)
        return plain


class PageContent:
    """Content that is read from an open file. Not safe to share between threads."""

    def __init__(self, file: PageFile, start: int, stored: int, size: int, is_snappy: bool):
        """`stored` bytes from `start` on give `size` bytes of content; raises NotUnderstoodError or IndexError."""
        self.size = size
        self._file = file
        self._parts: list[_Part] = []
        #: Where each part begins in the content, and the last one ends.
        self._starts = [0]
        if is_snappy:
            self._find_parts(start, start + stored)
        else:
            self._add(_Part(start, start + stored, is_plain=True), stored)
        if self._starts[-1] != size:
            raise NotUnderstoodError("the size of a page")

    def read(self, start: int, end: int) -> bytes:
        """The content from a place to another; raises NotUnderstoodError, OSError or what pyarrow raises."""
        if not 0 <= start <= end <= self.size:
            raise NotUnderstoodError("a place in a page")
        found: list[bytes] = []
        number = bisect_right(self._starts, start) - 1
        while start < end:
            part, first = self._parts[number], self._starts[number]
            stop = min(end, self._starts[number + 1])
            if part.is_plain:
                found.append(self._file.read(part.start + start - first, stop - start))
            else:
                block = self._file.block(part.start, part.end, self._starts[number + 1] - first)
                found.append(block[start - first : stop - first])
            start, number = stop, number + 1
        return b"".join(found)

    def _find_parts(self, at: int, end: int) -> None:
        """The literals that snappy kept, one by one, and each block that has copies as a whole."""
        size, skipped = varint(self._file.read(at, min(TAG_BYTES, end - at)), 0)
        at += skipped
        tags_left = TAG_BYTES + size // BYTES_A_TAG
        near, near_start = b"", at
        block, block_start, place, has_copies = list[tuple[_Part, int]](), at, 0, False
        while at < end:
            if at + MAX_TAG_BYTES > near_start + len(near):
                near, near_start = self._file.read(at, min(TAG_BYTES, end - at)), at
            tag = near[at - near_start]
            if tag & 3 == LITERAL:
                length, behind = (tag >> 2) + 1, at + 1
                if length > LONGEST:
                    behind += length - LONGEST
                    length = 1 + int.from_bytes(near[at + 1 - near_start : behind - near_start], "little")
                at = behind + length
                block.append((_Part(behind, at, is_plain=True), length))
            else:
                has_copies = True
                length = 4 + (tag >> 2 & 7) if tag & 3 == COPY_1 else (tag >> 2) + 1
                at += (2, 3, 5)[(tag & 3) - 1]
            place, tags_left = place + length, tags_left - 1
            if place % BLOCK_BYTES == 0 or at == end:
                if has_copies:
                    block = [(_Part(block_start, at, is_plain=False), place - self._starts[-1])]
                for part, length in block:
                    self._add(part, length)
                block, block_start, has_copies = [], at, False
            if at > end or tags_left < 0 or place - self._starts[-1] > BLOCK_BYTES:
                raise NotUnderstoodError("blocks of snappy")

    def _add(self, part: _Part, length: int) -> None:
        self._parts.append(part)
        self._starts.append(self._starts[-1] + length)
