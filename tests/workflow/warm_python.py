"""A Python for tests that has the libraries imported already: importing torch is most of a small job's time.

``serve`` imports them once and forks for each command; a file made by ``client`` stands for the interpreter. Scripts,
Snakemake and the project's own package are those of the command, run from nothing in a process of their own.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

# A line `#!` has no room for a path with a space. -I and -S: the client needs nothing but the standard library, and
# starts in a few hundredths of a second.
START = """#!/bin/sh
exec {python} -IS {client} "$0" "$@"
"""
CLIENT = """import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"!"], [0, 1, 2])
    request = {{"python": sys.argv[1], "argv": sys.argv[2:], "cwd": os.getcwd(), "environ": dict(os.environ)}}
    server.sendall(json.dumps(request).encode() + b"\\n")
    sys.exit(int(server.makefile().readline() or 1))
"""


def client(folder: Path, address: Path) -> Path:
    """Write the executable that hands its command line to the server at ``address``."""
    path, program = folder / "python", folder / "client.py"
    program.write_text(CLIENT.format(address=str(address)))
    path.write_text(START.format(python=quote(sys.executable), client=quote(str(program))))
    path.chmod(0o755)
    return path


SNAKEMAKE = (
    *("snakemake.cli", "snakemake.assets", "snakemake.profiles", "snakemake.report", "snakemake.storage"),
    *("smart_open", "yte", "docutils.core", "pygments.lexers", "pygments.formatters", "multiprocessing.managers"),
    *("jinja2", "platformdirs"),
)
WHOLE = ("altair", "pandas", "sklearn.datasets", "torch.export", "torchvision", *SNAKEMAKE)
LIGHT = ("dvc.cli", "dvc.repo", "dvc.commands.commit", "dvc.commands.checkout", *SNAKEMAKE)
"""For stages that compute nothing: a small process forks faster."""


def serve(address: str, libraries: Sequence[str]) -> None:
    """Import the libraries, say so on standard output, and fork for every command until standard input ends."""
    for library in libraries:
        importlib.import_module(library)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that end leave nothing behind
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        print("ready", flush=True)
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                os._exit(_answer(connection))
            connection.close()


def _answer(connection: socket.socket) -> int:
    """Run one command in a child, tell its exit code; a client that was killed takes the command with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile().readline())
    child = os.fork()
    if child == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os._exit(_work(request))
    for stream in streams:
        os.close(stream)
    while True:
        gone, status = os.waitpid(child, os.WNOHANG)
        if gone:
            break
        if select.select([connection], [], [], 0.02)[0]:  # nothing more is sent: it was closed
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)
            return 1
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status) % 256}\n".encode())
    return 0


def _work(request: dict[str, Any]) -> int:
    """What the interpreter does with a command line, from its beginning to the exit code."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.executable = request["python"]
    first, *others = request["argv"]
    place = str(Path(first).parent) if first not in ("-m", "-c") else request["cwd"]
    given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [place, *given]  # in the place of this file's folder
    code = 1
    try:
        _run(first, others)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _run(first: str, others: list[str]) -> None:
    if first == "-m":
        sys.argv = others
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *others[1:]]
        exec(others[0], {"__name__": "__main__"})
    else:
        sys.argv = [first, *others]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1], LIGHT if "light" in sys.argv[2:] else WHOLE)
