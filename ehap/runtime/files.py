"""Files: atomic writes, locks, hashes. Without torch, since planning uses them."""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ehap.errors import ReadError, WriteError

logger = logging.getLogger("ehap")
ADVICE = {
    errno.ENOSPC: "free some space on that file system, then run again",
    errno.EDQUOT: "free some of your quota there, then run again",
    errno.EROFS: "make that file system writable, or work in another folder",
    errno.EACCES: "get the rights to it, or work in another folder",
    errno.EPERM: "get the rights to it, or work in another folder",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or work on another file system",
}
"""Error of the system on writing to the advice; other errors keep their traceback."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
SECONDS_UNSURE = 2.0
"""A file as young as this could change again without a new time; its hash is not cached, as in git."""
_warned: set[tuple[Path, str]] = set()


@contextmanager
def writing(path: Path | None = None) -> Iterator[None]:
    """Turn the system's errors while the block writes into one clear error.

    Args:
        path: The file that the block writes; None for any file, named where the system names it.

    Raises:
        WriteError: There is no space for the file, or it may not be written.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        if error.errno not in ADVICE:
            raise
        found = f"{path}: {reason(error)}" if path else f"{error.filename or 'a file'}: {reason(error, '{}')}"
        clear = WriteError(f"{found}.")
        clear.errno = error.errno
        raise clear from None


def reason(error: OSError, form: str = "it cannot be written ({})") -> str:
    """Return why a file cannot be written, with the advice.

    Args:
        error: Its number is a key of ADVICE.
        form: Text of the reason, with braces for the system's words; other texts suit files that are also read.
    """
    number = error.errno or 0
    return f"{form.format(os.strerror(number))}; {ADVICE[number]}"


_waiting: list[Path] | None = None


def remove_folder(folder: Path) -> None:
    """Delete a folder with its content; in a block of ``removals_wait``, when that block has ended without error."""
    if _waiting is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        _waiting.append(folder)


@contextmanager
def removals_wait() -> Iterator[None]:
    """Delay ``remove_folder`` until the block has ended without error; after an error the folders stay."""
    global _waiting  # noqa: PLW0603 (one job a process)
    _waiting = []
    try:
        yield
        folders, _waiting = _waiting, None
        for folder in folders:
            remove_folder(folder)
    finally:
        _waiting = None


class LogFile(logging.FileHandler):
    """A log whose failure does not stop the work; stderr says so once.

    Raises:
        WriteError: The file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # another job may still write to the earlier one
            super().__init__(path, mode="w")
        self._path, self._said = path, False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging calls it)
        """Print the system's words once; leave other errors to logging."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError) or error.errno not in ADVICE:
            super().handleError(record)
        elif not self._said:
            self._said = True
            print(f"warning: {self._path}: {reason(error)}; the work goes on without its log", file=sys.stderr)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, finds either the old content or all of the new one.

    Raises:
        WriteError: There is no space for the file, or it may not be written; the old content is still there.
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
    """Lock an open file until it is closed, or its process ends in any way.

    On a file system without locks the work goes on without, and the log says so once a folder.

    Args:
        file: Open for writing.
        wait: Whether to wait for another process that holds the lock.
        against: The danger without a lock, as the log names it.

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


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: There is no such file, or it cannot be read.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def readable(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        FileNotFoundError: There is no such file, as behind a broken link.
        ReadError: It cannot be read now; its content may be fine.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path | str, error: OSError) -> ReadError:
    return ReadError(f"{path}: it cannot be read ({error.strerror}); mend that, then run again.")


class Hashes:
    """SHA-256 of files, cached from one start to the next while a file's size, times and inode stay.

    Args:
        path: File of the cache; a damaged file counts as none.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._new = path, False
        self._known: dict[str, list[object]] = {}
        with contextlib.suppress(OSError, ValueError):
            self._known = dict(json.loads(path.read_text()))

    def of(self, path: str) -> str | None:
        """Return the hash of a file; None where there is no file, as behind a broken link."""
        try:
            found = Path(path).stat()
            signature = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
            known = self._known.get(path)
            if known is not None and known[:-1] == signature:
                return str(known[-1])
            digest = sha256_of(path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise _unreadable(path, error) from None
        if time.time() - max(found.st_mtime, found.st_ctime) > SECONDS_UNSURE:
            self._known[path] = [*signature, digest]
            self._new = True
        return digest

    def save(self) -> None:
        """Write new hashes to the cache; after a failure the next start computes them again."""
        if self._new:
            with contextlib.suppress(OSError):
                write_atomically(self._path, json.dumps(self._known).encode())
            self._new = False
