"""A Python for tests that has the libraries imported already: importing torch is most of a small job's time.

It is the server of ``ehap.workflow.warm`` with more libraries and none of the project's own modules: tests run
Snakemake and DVC in it, too, on copies of the project.
"""

import functools
import hashlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from filelock import FileLock

from ehap.workflow.warm import client, server

# A line `#!` has no room for a path with a space. -I and -S: the client needs nothing but the standard library, and
# starts in a few hundredths of a second.
START = """#!/bin/sh
exec {python} -IS {program} {words} "$@"
"""
PROGRAM = """import os, sys
sys.path.insert(0, {place!r})
from client import connected, hand_over
found = connected({address!r})
if found is not None:
    hand_over(found, {client!r}, sys.argv[1:])
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
TOOLS = {"python": "", "python3": "", "snakemake": "-m snakemake", "dvc": "-m dvc"}


def write_tools(folder: Path, address: Path) -> None:
    """Write executables that hand their command lines to the server at ``address``."""
    program, place = folder / "program.py", Path(str(client.__file__)).parent
    program.write_text(PROGRAM.format(place=str(place), address=str(address), client=str(folder / "python")))
    for name, words in TOOLS.items():
        path = folder / name
        path.write_text(START.format(python=quote(sys.executable), program=quote(str(program)), words=words))
        path.chmod(0o755)


SNAKEMAKE = (
    *("snakemake.cli", "snakemake.assets", "snakemake.profiles", "snakemake.report", "snakemake.storage"),
    *("smart_open", "yte", "docutils.core", "pygments.lexers", "pygments.formatters", "multiprocessing.managers"),
    *("jinja2", "platformdirs", "psutil"),
)
DVC = ("dvc.cli", "dvc.repo", "dvc.commands.commit", "dvc.commands.checkout", "dvc.commands.repro", "dvc.repo.push")
WHOLE = (*server.LIBRARIES, "torchao.quantization.pt2e.quantize_pt2e", "sklearn.datasets", *SNAKEMAKE, *DVC)
LIGHT = ("torch", *DVC, *SNAKEMAKE)
"""For stages that compute nothing, though their modules import torch: a small process forks faster."""


def serve(folder: Path, libraries: Sequence[str]) -> None:
    """Import the libraries, and answer clients until the owner of the folder ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the tests
    server.import_libraries(libraries)
    for name in [name for name in sys.modules if name.partition(".")[0] == "ehap"]:
        del sys.modules[name]  # a command imports the package that stands beside it
    packages = server.state()
    write_tools(folder, folder / "socket")
    server.serve(folder, str(folder / "socket"), lambda: server.state() == packages)


@functools.cache
def warm_python(*options: str) -> str:
    """An interpreter whose libraries are imported already; with the option "light" only those of the workflow.

    Test workers share it. It ends with the process that runs all of them.
    """
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    kind = hashlib.sha256(repr((owner, options, os.environ.get("PYTHONHASHSEED"))).encode()).hexdigest()[:8]
    folder = Path(tempfile.gettempdir()) / f"warm-{kind}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "socket").exists():
            folder.mkdir(mode=0o700)
            (folder / server.OWNER).write_text(str(owner))
            command = [sys.executable, __file__, str(folder), *options]
            environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
            closed = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
            number = os.posix_spawn(sys.executable, command, environment, file_actions=closed)
            while not (folder / "socket").exists():
                assert os.waitpid(number, os.WNOHANG) == (0, 0)
                time.sleep(0.02)
    return str(folder / "python")


def tools() -> str:
    """Return the PATH with python, snakemake and dvc that have their libraries imported."""
    places = [Path(warm_python()).parent, Path(sys.executable).parent]
    return os.pathsep.join([*map(str, places), os.environ["PATH"]])


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    serve(Path(sys.argv[1]), LIGHT if "light" in sys.argv[2:] else WHOLE)
