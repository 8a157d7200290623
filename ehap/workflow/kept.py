"""Finished outputs of long jobs, kept until Snakemake has taken them over.

Snakemake deletes the outputs of a job that fails, of the earlier jobs in its group, and of a job that it starts again.
Outputs that took hours are kept beside the states. A job with the same inputs, settings and code takes them from there.
"""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ehap.runtime.files import sha256_of, write_atomically

logger = logging.getLogger("ehap")
FOLDER = "kept"
NOTE = "kept.json"


def folder_of(states: Path, first: str) -> Path:
    """Return the folder of the kept outputs of the job with the first output ``first``."""
    return states / FOLDER / first.strip("/")


def keep(states: Path, outputs: Sequence[Path], key: Any) -> None:
    """Keep outputs for a later job with the same key; the log says if that fails.

    Args:
        states: Folder of the run for files that must outlive its jobs.
        outputs: Outputs of one job.
        key: Everything that the outputs depend on, as JSON can hold it.
    """
    folder = folder_of(states, str(outputs[0]))
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        digests = {str(path): sha256_of(path) for path in outputs}
        for path, digest in digests.items():
            _place(Path(path), folder / digest)
        write_atomically(folder / NOTE, json.dumps({"key": key, "outputs": digests}).encode())
    except OSError as error:
        logger.warning("the outputs are not kept in %s (%s); the job goes on", folder, error)


def take(states: Path, outputs: Sequence[Path], key: Any) -> bool:
    """Put outputs back that an earlier job of the same key has kept, and return whether there were any."""
    folder = folder_of(states, str(outputs[0]))
    try:
        note = json.loads((folder / NOTE).read_text())
        digests = note["outputs"]
        if note["key"] != key or list(digests) != [str(path) for path in outputs]:
            return False
        if any(sha256_of(folder / digest) != digest for digest in digests.values()):
            logger.warning("the outputs kept in %s are damaged; they are not used", folder)
            return False
        for path, digest in digests.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.tmp")
            _place(folder / digest, temporary)
            temporary.replace(path)
            temporary.unlink(missing_ok=True)  # rename(2) leaves it where both are one file
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def forget(states: Path, firsts: Iterable[str]) -> None:
    """Delete the kept outputs of the jobs with these first outputs."""
    for first in firsts:
        folder = folder_of(states, first)
        shutil.rmtree(folder, ignore_errors=True)


def _place(source: Path, target: Path) -> None:
    """Link a file, or copy it where the file system has no hard links; outputs are replaced, never written through."""
    target.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.link(source.resolve(), target)
        return
    shutil.copyfile(source, target)
