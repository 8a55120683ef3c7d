"""A lock on an open file, also where the file system has none: what it means there is up to the caller."""

import errno
import fcntl
from enum import Enum, auto

#: Errors of flock on a file system without locks, such as Lustre mounted without its flock option.
NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


class Lock(Enum):
    """What became of an attempt to lock a file."""

    TAKEN = auto()
    #: Another process holds it.
    BUSY = auto()
    #: The file system has no locks.
    UNSUPPORTED = auto()


def try_lock(descriptor: int, kind: int) -> Lock:
    """Try once to lock an open file; `kind` is `fcntl.LOCK_EX` or `fcntl.LOCK_SH`.

    The kernel releases the lock when the descriptor is closed or its process ends. Raises OSError.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return Lock.BUSY
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return Lock.UNSUPPORTED
    return Lock.TAKEN
