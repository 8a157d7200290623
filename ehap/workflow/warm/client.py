"""Run a script in a Python that has its libraries imported: ``python -IS client.py FOLDER script.py arguments``.

A server forks that Python, see ``server.py``; the first client of an environment starts it, for later ones. Where there
is no FOLDER or no server yet, this process becomes an ordinary Python that runs the script. It passes signals on, and
ends as the script ends.
"""

import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys

OWN = ("PWD", "OLDPWD", "SHLVL", "_", "TMPDIR", "TMP", "TEMPDIR", "TEMP")
"""Variables that no library reads while it is imported; a server answers commands that agree in all others."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
STARTED = "started\n"
SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server.py")
LOG = "{}.log"


def main(folder: str, command: "list[str]") -> None:
    """Hand the command to a server; without one, become the interpreter that runs it."""
    server = _server(folder)
    if server is not None:
        hand_over(server, sys.executable, command)
    os.execv(sys.executable, [sys.executable, *command])


def hand_over(server: socket.socket, python: str, command: "list[str]") -> None:
    """Have a server run a command, and end as it ends; return if the server refuses.

    Args:
        server: A connection to it.
        python: The interpreter that the command takes itself to run in.
        command: What follows the interpreter in a command line.
    """
    request = {
        "python": python,
        "argv": command,
        "cwd": os.getcwd(),
        "environ": dict(os.environ),
        "umask": _umask(),
        "group": os.getpgrp(),
        "clients": [os.getpid(), os.getppid()],
    }
    socket.send_fds(server, [b"!"], [0, 1, 2])
    server.sendall(json.dumps(request).encode() + b"\n")
    answers = server.makefile()
    if answers.readline() != STARTED:
        return
    for each in PASSED_ON:
        signal.signal(each, lambda number, _: server.sendall(f"{number}\n".encode()))
    answer = answers.readline()
    for each in PASSED_ON:
        signal.signal(each, signal.SIG_DFL)
    if not answer:
        sys.exit(f"error: the process that ran {command[0]} was lost with its server")
    code = int(answer)
    if code < 0:  # a signal ended it
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def address_of(folder: str, environ: "dict[str, str]") -> str:
    """Return the path of the socket for commands of one environment."""
    relevant = sorted((name, value) for name, value in environ.items() if name not in OWN)
    return os.path.join(folder, hashlib.sha256(repr(relevant).encode()).hexdigest()[:16])


def start(folder: str, address: str, environ: "dict[str, str]") -> "subprocess.Popen[bytes]":
    """Start the server of an environment; from then on its log is there."""
    with open(LOG.format(address), "ab") as log:
        command = [sys.executable, "-P", SERVER, folder, address]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=environ)


def _server(folder: str) -> "socket.socket | None":
    """Return a connection to the server with this process's environment; None where none is ready."""
    if not os.path.isdir(folder):
        return None
    address = address_of(folder, dict(os.environ))
    connection = connected(address)
    try:
        with open(f"{address}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of several clients, the first starts it
            if connection is None and not os.path.exists(LOG.format(address)):
                if os.fork() == 0:  # so that it does not count as a part of this job
                    start(folder, address, dict(os.environ))
                    os._exit(0)
                os.wait()
    except OSError:  # the run has ended, and its folder with it
        pass
    return connection


def connected(address: str) -> "socket.socket | None":
    """Return a connection to the server at an address; None where none is ready."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        return None
    return connection


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
