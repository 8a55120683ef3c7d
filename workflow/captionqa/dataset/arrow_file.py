"""Parquet and Arrow files, opened so that no more than is used of them is read."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET_MAGIC, ENCRYPTED_MAGIC, ARROW_FILE_MAGIC = b"PAR1", b"PARE", b"ARROW1"
FEATHER_V1_MAGIC = b"FEA1"
#: How the text file begins that git-lfs leaves in the place of a file.
LFS_MAGIC = b"version https://git-lfs"
#: Bytes read at a time from a parquet file.
BUFFER_BYTES = 1 << 20


def open_parquet(path: Path) -> "pq.ParquetFile":
    """A parquet file; reading it takes memory for a few pages, not for a row group.

    Raises:
        ValueError: it is empty, cut, encrypted, damaged or no parquet file, as the end of a sentence.
        OSError: it cannot be read.
    """
    import pyarrow.parquet as pq

    with open(path, "rb") as file:
        head = file.read(len(LFS_MAGIC))
        file.seek(max(0, os.fstat(file.fileno()).st_size - len(PARQUET_MAGIC)))
        tail = file.read()
    check_head(head)
    if ENCRYPTED_MAGIC in (head[:4], tail):
        raise ValueError("it is encrypted; write it again without encryption")
    if not head.startswith(PARQUET_MAGIC):
        raise ValueError("its first bytes are those of another kind of file")
    if tail != PARQUET_MAGIC:
        raise ValueError("it is cut; make or download it again")
    return pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)


@contextmanager
def open_arrow(path: Path) -> "Iterator[Any]":
    """A reader of an Arrow file or stream that is mapped into memory: its data is read where it is used.

    Raises:
        ValueError: it is empty, cut, damaged or no Arrow file, as the end of a sentence.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        yield arrow_reader(map_file(file))


def map_file(file: BinaryIO) -> "pa.Buffer":
    """The content of an Arrow file as mapped memory; raises as `open_arrow`."""
    import pyarrow as pa

    check_head(os.pread(file.fileno(), len(LFS_MAGIC), 0))
    return pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def arrow_reader(content: "pa.Buffer") -> Any:
    """A reader of the record batches of an Arrow file or stream; raises as `open_arrow`."""
    import pyarrow as pa

    is_file = content.slice(0, len(ARROW_FILE_MAGIC)).to_pybytes() == ARROW_FILE_MAGIC
    return pa.ipc.open_file(content) if is_file else pa.ipc.open_stream(content)


def record_batches(reader: Any) -> "Iterator[pa.RecordBatch]":
    """The record batches of an Arrow file or stream."""
    if hasattr(reader, "num_record_batches"):
        return map(reader.get_batch, range(reader.num_record_batches))
    return iter(reader)


def check_head(head: bytes) -> None:
    """Raise ValueError for a file that is empty, or a pointer to one, by its first bytes."""
    if not head:
        raise ValueError("it is empty; make or download it again, or leave it out")
    if head.startswith(FEATHER_V1_MAGIC):
        raise ValueError("it is in Feather's first version; write it again with version=2")
    if head.startswith(LFS_MAGIC):
        raise ValueError("it is a pointer of git-lfs, not the data itself; fetch the data with `git lfs pull`")
