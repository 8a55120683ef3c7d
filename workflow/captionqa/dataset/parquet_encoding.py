"""Encodings inside a parquet file: its page headers, and numbers of a few bits.

Sources: https://github.com/apache/parquet-format, Encodings.md; https://github.com/apache/thrift,
doc/specs/thrift-compact-protocol.md.
"""

from itertools import repeat
from typing import Any

#: Types of the fields of a struct in Thrift's compact protocol.
TRUE, FALSE, I32, I64, BINARY, STRUCT = 1, 2, 5, 6, 8, 12


class NotUnderstoodError(ValueError):
    """A part of a parquet file holds what is not read here, or contradicts itself."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it; raises IndexError where the data ends within it."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def thrift_struct(data: bytes, at: int = 0) -> tuple[dict[int, Any], int]:
    """The numbers, truth values and structs of a struct in Thrift's compact protocol, and the place behind it.

    Raises:
        NotUnderstoodError: it has fields that no page header has.
        IndexError: the data ends within it.
        RecursionError: structs within structs without end.
    """
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        (step, kind), at = divmod(head, 16), at + 1
        number += step
        if not step:
            raise NotUnderstoodError("a field of a page header")
        if kind in (TRUE, FALSE):
            fields[number] = kind == TRUE
        elif kind in (I32, I64):
            zigzag, at = varint(data, at)
            fields[number] = (zigzag >> 1) ^ -(zigzag & 1)
        elif kind == BINARY:
            size, at = varint(data, at)
            at += size
        elif kind == STRUCT:
            fields[number], at = thrift_struct(data, at)
        else:
            raise NotUnderstoodError("a field of a page header")
    return fields, at + 1


def hybrid_numbers(data: bytes, bits: int, count: int) -> list[int]:
    """`count` numbers of so many bits each, from runs of one number and from groups of eight.

    Raises:
        NotUnderstoodError: the data ends before.
        IndexError: the same.
    """
    if not bits:
        return [0] * count
    numbers: list[int] = []
    at = 0
    while len(numbers) < count:
        header, at = varint(data, at)
        if header & 1:
            end = at + (header >> 1) * bits
            for group in range(at, min(end, len(data)), bits):
                packed = int.from_bytes(data[group : group + bits], "little")
                numbers.extend((packed >> bit) & ((1 << bits) - 1) for bit in range(0, 8 * bits, bits))
        else:
            end = at + (bits + 7) // 8
            numbers.extend(repeat(int.from_bytes(data[at:end], "little"), min(header >> 1, count)))
        if end > len(data):
            raise NotUnderstoodError("the end of a run")
        at = end
    return numbers[:count]
