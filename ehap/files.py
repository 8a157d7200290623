"""Files that are written whole or not at all, and locks on them."""

import errno
import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ehap.errors import WriteError

logger = logging.getLogger("ehap")
ADVICE = {
    errno.ENOSPC: "free some space on that file system, then run again",
    errno.EDQUOT: "free some of your quota there, then run again",
    errno.EROFS: "make that file system writable, or work in another folder",
    errno.EACCES: "make that folder writable for you, or work in another one",
    errno.EPERM: "make that folder writable for you, or work in another one",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or work on another file system",
}
"""What to do about an error of the system on writing; on others a traceback says more."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_warned: set[tuple[Path, str]] = set()


@contextmanager
def writing(path: Path | None = None) -> Iterator[None]:
    """Turn what the system says while the block writes into one clear error.

    Args:
        path: What the block writes; None for any file, which is named where the system names it.

    Raises:
        WriteError: There is no room for the file, or it may not be written.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        if error.errno not in ADVICE:
            raise
        clear = WriteError(f"{path or error.filename or 'a file'}: {reason(error)}.")
        clear.errno = error.errno
        raise clear from None


def reason(error: OSError) -> str:
    """Return why a file cannot be written, and what to do."""
    number = error.errno or 0
    return f"it cannot be written ({os.strerror(number)}); {ADVICE.get(number, 'see the message of the system')}"


class LogFile(logging.FileHandler):
    """A log that the work goes on without where it is cut off; stderr says so once.

    Raises:
        WriteError: The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(path, mode="w")
        self._path, self._said = path, False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging calls it)
        """Say what the system says; leave other errors to logging."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError) or error.errno not in ADVICE:
            super().handleError(record)
        elif not self._said:
            self._said = True
            print(f"warning: {self._path}: {reason(error)}; the work goes on without its log", file=sys.stderr)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, meets either the old content or the whole new one.

    Raises:
        WriteError: There is no room for the file, or it may not be written; the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def locked(file: IO[Any], wait: bool, against: str = "a second process at the same work") -> bool:
    """Lock an open file until it is closed; the system frees the lock of a process that ends, however it ends.

    On a file system without locks the work goes on unguarded, and the log says so, once a folder.

    Args:
        file: Open for writing.
        wait: For another process that holds the lock.
        against: What the lock keeps away, for that line.

    Returns:
        False where another process holds the lock; True where the work may go on.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        folder = Path(file.name).parent
        if (folder, against) not in _warned:
            _warned.add((folder, against))
            said = os.strerror(error.errno)
            logger.warning("%s: no locks on this file system (%s); nothing keeps away %s", folder, said, against)
    return True
