"""Files: their content's hash, and writing them whole. Without torch: Snakemake's start needs both."""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import IO

logger = logging.getLogger("ehap")
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems without locks say: NFS without lockd, Lustre without -o flock, and others."""

SECONDS_UNSURE = 2.0
"""A file that was written so shortly ago could change again without a new time; its hash is not cached, as in git."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, meets either the old content or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def locked(file: IO[str], wait: bool) -> bool:
    """Lock an open file for this process alone, and return whether it is locked; closing the file frees it.

    Where the file system has no locks, a warning is all that can be done; the file counts as locked.

    Args:
        file: Open for writing.
        wait: Until whoever holds it lets it go; without, False is returned.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        logger.warning(
            "%s: this file system has no locks (%s); start no second job for the same output", file.name, error.strerror
        )
    return True


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: There is no such file, or it cannot be read.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Hashes:
    """SHA-256 of files, kept from one start to the next while size, times and inode of a file stay.

    Args:
        path: Where they are kept; a damaged file counts as none.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._new = path, False
        self._known: dict[str, list[object]] = {}
        with contextlib.suppress(OSError, ValueError):
            self._known = dict(json.loads(path.read_text()))

    def of(self, path: str) -> str | None:
        """Return the hash of a file; None where there is none, as for a link to nothing."""
        try:
            found = Path(path).stat()
            signature = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
            known = self._known.get(path)
            if known is not None and known[:-1] == signature:
                return str(known[-1])
            digest = sha256_of(path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        if time.time() - max(found.st_mtime, found.st_ctime) > SECONDS_UNSURE:
            self._known[path] = [*signature, digest]
            self._new = True
        return digest

    def save(self) -> None:
        """Keep what is new; where that cannot be, the next start computes it again."""
        if self._new:
            with contextlib.suppress(OSError):
                write_atomically(self._path, json.dumps(self._known).encode())
            self._new = False
