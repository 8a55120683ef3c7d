"""Opening a parquet or Arrow file for a plan: what is wrong with it becomes one sentence that names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from captionqa.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]  # has no type stubs
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

PARQUET_MAGIC, ENCRYPTED_MAGIC, ARROW_FILE_MAGIC = b"PAR1", b"PARE", b"ARROW1"
#: How the text file begins that git-lfs leaves in the place of a file.
LFS_MAGIC = b"version https://git-lfs"
#: Bytes read at a time, so that no row group is read ahead.
BUFFER_BYTES = 1 << 20


def open_parquet(path: Path, where: str) -> "pq.ParquetFile":
    """A parquet file; reading it takes memory for a few pages, not for a row group.

    Raises:
        InputError: it is empty, cut, encrypted, damaged, or no parquet file; `where` names it in the message.
    """
    import pyarrow.parquet as pq

    with read_errors(where):
        with open(path, "rb") as file:
            head = file.read(len(LFS_MAGIC))
            file.seek(max(0, os.fstat(file.fileno()).st_size - len(PARQUET_MAGIC)))
            tail = file.read()
        check_head(head, where)
        if ENCRYPTED_MAGIC in (head[:4], tail):
            raise InputError(f"{where} is encrypted; write it again without encryption.")
        if not head.startswith(PARQUET_MAGIC):
            raise InputError(f"{where} cannot be read as a parquet file: it is none by its first bytes.")
        if tail != PARQUET_MAGIC:
            raise InputError(f"{where} cannot be read as a parquet file: it is cut; make or download it again.")
        return pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)


def open_arrow(path: Path, where: str) -> "list[pa.RecordBatch]":
    """The record batches of an Arrow file or stream, mapped into memory: their data is read where it is used.

    Raises:
        InputError: it is empty, cut, damaged, or no Arrow file; `where` names it in the message.
    """
    with read_errors(where):
        with open(path, "rb") as file:
            check_head(file.read(len(LFS_MAGIC)), where)
        return list(arrow_batches(path))


def arrow_batches(path: Path) -> "Iterator[pa.RecordBatch]":
    """The record batches of an Arrow file or stream, mapped into memory; raises ArrowException or OSError."""
    import pyarrow as pa

    file = pa.memory_map(str(path))
    is_stream = file.read(len(ARROW_FILE_MAGIC)) != ARROW_FILE_MAGIC
    file.seek(0)
    if is_stream:
        yield from pa.ipc.open_stream(file)
        return
    reader = pa.ipc.open_file(file)
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def check_head(head: bytes, where: str) -> None:
    """Raise InputError for a file that is empty, or a pointer to one, by its first bytes."""
    if not head:
        raise InputError(f"{where} is empty; make or download it again, or leave it out.")
    if head.startswith(LFS_MAGIC):
        raise InputError(f"{where} is a pointer of git-lfs, not the data itself; fetch the data with `git lfs pull`.")


@contextmanager
def read_errors(where: str) -> Iterator[None]:
    """Turn an error of reading a file into InputError, which names it by `where`."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        text = str(error).strip().splitlines()
        raise InputError(f"{where} cannot be read: {text[0] if text else type(error).__name__}") from error
