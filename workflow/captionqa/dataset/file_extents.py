"""Parts of large files by their offset: the members of tars and the lines of texts, which hold images."""

import os
import threading
from collections import OrderedDict
from pathlib import Path

from captionqa.dataset.image_file import read_failures
from captionqa.dataset.item_entry import Stamp

#: Files that are open at a time.
MAX_OPEN = 64
#: Bytes in which line breaks are counted at a time.
BLOCK_BYTES = 1 << 20


class FileExtents:
    """Files that stay open for the next part; `_lock` guards which are open, and each may be read by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[Path, _OpenFile] = OrderedDict()

    def read(self, path: Path, offset: int, size: int) -> tuple[bytes, Stamp]:
        """The bytes, fewer where the file ends before, and its stamp after they were read; raises ItemFailure."""
        with read_failures(path):
            with self._lock:
                file = self._files.get(path)
                if file is None:
                    self._files[path] = file = _OpenFile(os.open(path, os.O_RDONLY))
                self._files.move_to_end(path)
                if len(self._files) > MAX_OPEN:
                    self._files.popitem(last=False)
            data = os.pread(file.descriptor, size, offset)
            while 0 < len(data) < size and (more := os.pread(file.descriptor, size - len(data), offset + len(data))):
                data += more
            status = os.fstat(file.descriptor)
        return data, (status.st_size, status.st_mtime_ns)

    def line_number(self, path: Path, offset: int) -> int:
        """The line that begins at an offset, the first is 1; 0 where the file cannot be read."""
        try:
            with open(path, "rb") as file:
                blocks = (file.read(min(BLOCK_BYTES, offset - at)) for at in range(0, offset, BLOCK_BYTES))
                return 1 + sum(block.count(b"\n") for block in blocks)
        except OSError:
            return 0


class _OpenFile:
    """A file that is closed once nobody reads it any more."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)
