"""Import libraries, then fork a process for each script that a client asks for, see ``client.py``.

Each script runs in a process of its own, with the client's files, folder, environment and exit code, as in an ordinary
Python. The server ends with the process that owns the folder. It refuses a client once packages were installed, or a
file of the project was written: its own modules are those of its start.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import math
import os
import random
import runpy
import select
import shutil
import signal
import site
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ehap.workflow.code import code_in_memory
from ehap.workflow.digest import source_digest

OWNER, JOBS = "owner", "jobs"
"""In the folder of servers: a file with the number of the process that owns it, and measurements by process number."""
LIBRARIES = (
    *("torch", "torch.export", "torch.onnx", "torch.fx.experimental.proxy_tensor", "torch.utils.data", "torchvision"),
    *("safetensors.torch", "pandas", "altair", "vl_convert", "onnx", "scipy.optimize", "yaml", "tqdm"),
)
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
TO_ALL_WITHIN = 0.25
"""Seconds within which a signal to all processes of a run, by a terminal or by Slurm, has reached each of them."""
PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).resolve().parents[3]


def main(folder: Path, address: str) -> None:
    """Import libraries and modules, and answer clients until the owner of the folder ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the scripts
    before = state()
    import_all()
    serve(folder, address, lambda: state() == before)


def serve(folder: Path, address: str, is_true: Callable[[], bool]) -> None:
    """Answer clients until the owner of the folder ends; then remove the folder.

    Args:
        folder: With the file OWNER; and with the folder JOBS, if notes on jobs are wanted.
        address: Path of the socket.
        is_true: Whether what this process has imported is still what a new one would import.
    """
    owner = os.pidfd_open(int((folder / OWNER).read_text()))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children that end leave nothing behind
    gc.freeze()  # nothing that is there now is copied by a collection in a child
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.new")
        listening.listen(64)
        os.rename(f"{address}.new", address)
        while owner not in _ready(listening, owner):
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                with contextlib.suppress(BrokenPipeError):
                    _answer(connection, folder, is_true())
                os._exit(0)
            connection.close()
    shutil.rmtree(folder, ignore_errors=True)


def import_all() -> None:
    """Import what there is of the libraries, and of the project's modules what does not start CUDA."""
    import_libraries(LIBRARIES)
    for path in sorted((ROOT / "workflow_scripts").glob("*.py")):
        with contextlib.suppress(Exception):  # the job itself says what is wrong
            if has_gpu():
                source_digest(path, ROOT, ROOT / "envs" / "lock.txt")  # it keeps what it has read
            else:
                code_in_memory(path, "")


def import_libraries(names: Iterable[str]) -> None:
    """Import what there is of the libraries."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def has_gpu() -> bool:
    """Say whether there is a GPU of NVIDIA's or AMD's; a forked process cannot use one that its parent has started."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()


def state() -> list[tuple[Any, ...]]:
    """Return what changes when packages are installed or removed, or a file of the project is written."""
    folders = [Path(folder) for folder in site.getsitepackages()]
    files = [path for part in ("ehap", "workflow_scripts", "envs") for path in (ROOT / part).rglob("*")]
    found = []
    for path in sorted([*folders, *(path for path in files if path.suffix in (".py", ".txt"))]):
        with contextlib.suppress(OSError):
            about = path.stat()
            found.append((str(path), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))
    return found


def _answer(connection: socket.socket, folder: Path, same: bool) -> None:
    """Run one script in a child and tell its exit code; a client that is gone takes the script with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    received: dict[int, float] = {}
    for each in PASSED_ON:
        signal.signal(each, lambda number, _: received.update({number: time.monotonic()}))
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    messages = connection.makefile()
    request = json.loads(messages.readline())
    if not same:  # packages were installed since
        connection.sendall(b"refused\n")
        return
    began, child = time.monotonic(), os.fork()
    if child == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os._exit(_work(request))
    for stream in streams:
        os.close(stream)
    _note(folder, request["clients"], str(child))
    connection.sendall(b"started\n")
    ended = os.pidfd_open(child)
    while ended not in _ready(connection, ended):
        message = messages.readline()
        _pass_on(child, int(message) if message else signal.SIGKILL, received)  # an empty one: the client was killed
        if not message:
            break
    _, status, usage = os.wait4(child, 0)
    used = {
        "worker": child,
        "seconds": time.monotonic() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "max_rss_mb": usage.ru_maxrss / 1024,
    }
    _note(folder, request["clients"], json.dumps(used))
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _pass_on(child: int, number: int, received: dict[int, float]) -> None:
    """Send a signal of the client's to a child, unless it went to all processes of the run: a second one counts."""
    if number in PASSED_ON:
        time.sleep(TO_ALL_WITHIN)
        if time.monotonic() - received.get(number, -math.inf) < 2 * TO_ALL_WITHIN:
            return
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _ready(*waiting: Any) -> list[Any]:
    """Wait until one of several sockets and file descriptors has something to read; return those that have."""
    return select.select(waiting, [], [])[0]


def _note(folder: Path, clients: list[int], text: str) -> None:
    """Note a worker, and later what it has used, under the numbers of its client and of the client's shell."""
    with contextlib.suppress(OSError):  # the owner has removed the folder
        for client in clients:
            (folder / JOBS / f".{client}").write_text(text)
            (folder / JOBS / f".{client}").rename(folder / JOBS / str(client))


def _work(request: dict[str, Any]) -> int:
    """What the interpreter does with a command line, from its beginning to the exit code."""
    for number in PASSED_ON:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # it ends with the process that waits for it
    with contextlib.suppress(OSError):
        os.setpgid(0, request["group"])
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    tempfile.tempdir = None
    sys.executable = request["python"]
    sys.orig_argv = [request["python"], *request["argv"]]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=stream is sys.stderr or stream.isatty())  # type: ignore[union-attr]
    _reseed()
    importlib.invalidate_caches()
    code = 1
    try:
        _run(request["argv"], request["cwd"])
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    return code & 0xFF


def _reseed() -> None:
    """Give the process random numbers of its own, as a new Python has."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def _run(argv: list[str], cwd: str) -> None:
    first, *others = argv
    place = cwd if first in ("-m", "-c") else str(Path(first).parent)
    sys.path[:0] = [place, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
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
    main(Path(sys.argv[1]), sys.argv[2])
