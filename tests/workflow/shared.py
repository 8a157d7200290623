"""Clones that share a run by ``make push`` and ``make pull``, as a user does."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from ehap.workflow.sources import Sources, write_sources
from tests.workflow.conftest import GIT, ROOT, local_config, run_in
from tests.workflow.test_run import CELL
from tests.workflow.warm_python import tools

WEIGHTS = f"results/small/finetune/{CELL}/hap/model.safetensors"
RECORD = f"results/small/finetune/{CELL}/hap/record.json"


def cloned(origin: Path, folder: Path, link: str = "copy", remote: Path | None = None) -> Path:
    """Clone the repository, with what make needs; nothing is pulled."""
    run_in(folder.parent, *GIT, "clone", "--quiet", str(origin), str(folder))
    local_config(folder, remote or origin.parent / "remote", link)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv").mkdir()
    (folder / ".venv/.ready").touch()
    return folder


def pulled_once(origin: Path, folder: Path) -> Path:
    """Return the clone in ``folder`` into which all was pulled; the first call makes it. Tests copy it."""
    if not folder.exists():
        cloned(origin, folder)
        pulled(folder)
    return folder


def made(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Say make in a clone, with the tools of the environment that the test runs in; its errors are in stdout."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PATH": tools()}
    command = ["make", "--silent", *arguments, "RUN=small"]
    return subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def pulled(folder: Path, *arguments: str) -> str:
    """Pull into a clone; return what was said."""
    done = made(folder, "pull", *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def pushed(folder: Path, *arguments: str) -> str:
    """Push from a clone; return what was said."""
    done = made(folder, "push", *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def purge(remote: Path) -> None:
    """Delete every other object of a remote, but no list."""
    objects = sorted(path for path in remote.rglob("*") if path.is_file() and path.suffix != ".dir")
    assert objects
    assert list(remote.rglob("*.dir"))
    for path in objects[::2]:
        path.unlink()


def stored(folder: Path, content: bytes) -> Path:
    """Return where a cache, or a folder that is a remote, has the object of some content."""
    md5 = hashlib.md5(content).hexdigest()
    return folder / "files/md5" / md5[:2] / md5[2:]


def overwrite(path: Path, content: bytes) -> None:
    """Write into a file that is there, through links and write protection."""
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def damage(path: Path) -> bytes:
    """Change the last byte of a file where it is; return what it held."""
    content = path.read_bytes()
    overwrite(path, content[:-1] + bytes([content[-1] ^ 1]))
    return content


def made_anew(folder: Path, content: bytes) -> None:
    """Have the weights and their record in a clone as a job here would have made them, from other settings."""
    record = json.loads((folder / RECORD).read_text())
    sources = record.pop("sources") | {"outputs": {WEIGHTS: hashlib.sha256(content).hexdigest()}}
    for path, written in ((WEIGHTS, content), (RECORD, json.dumps(record | {"duration_s": 1e3}).encode())):
        (folder / path).unlink()  # DVC may have linked it to its cache
        (folder / path).write_bytes(written)
    write_sources(folder / RECORD, Sources(**sources))
