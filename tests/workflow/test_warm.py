"""A Python that is forked behaves as one that is started, and Snakemake measures it as its own child."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ehap.workflow.warm import client, server
from tests.workflow.conftest import ROOT
from tests.workflow.warm_python import warm_python

CLIENT = Path(str(client.__file__))
SHOW = """import atexit, json, os, random, sys, tempfile
atexit.register(print, "the end")
print(json.dumps({
    "argv": sys.argv, "cwd": os.getcwd(), "umask": os.umask(0o22), "path": sys.path[:3], "exe": sys.executable,
    "environ": os.environ.get("MINE"), "random": random.random(), "group": os.getpgrp(), "name": __name__,
    "temporary": tempfile.gettempdir(), "told": sys.stdin.read(), "doc": __doc__, "ehap": "ehap" in sys.modules,
}))
print("to stderr", file=sys.stderr)
"""
WAIT = """import signal, sys, time
def stop(number, frame):
    print("told", number, flush=True)
    if number == signal.SIGTERM:
        sys.exit(3)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGUSR1, stop)
print("ready", flush=True)
while True:
    time.sleep(0.01)
"""


def _ran(folder: Path, code: str, *arguments: str, python: str | None = None, **options: object) -> dict[str, object]:
    script = folder / "a script.py"
    script.write_text(f'"""Its text."""\n{code}')
    command = [python or warm_python(), str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def test_a_script_sees_what_it_sees_in_a_python_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    given = os.pathsep.join([str(tmp_path / "first"), str(tmp_path / "second")])
    environ = os.environ | {"MINE": "a value", "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": given}
    seen = {}
    for name, python in (("warm", warm_python()), ("plain", sys.executable)):
        ran = _ran(
            tmp_path, SHOW, "a b", "--c", python=python, cwd=tmp_path, env=environ, umask=0o027, input="some words"
        )
        assert (ran["code"], ran["err"]) == (0, "to stderr\n")
        line, end = str(ran["out"]).splitlines()
        assert end == "the end"
        seen[name] = json.loads(line)
    numbers = {each.pop("random") for each in seen.values()}
    assert len(numbers) == 2
    assert seen["warm"].pop("exe") == warm_python()
    assert seen["plain"].pop("exe") == sys.executable
    assert seen["warm"] == seen["plain"]
    assert seen["warm"]["umask"] == 0o027
    assert seen["warm"]["temporary"] == str(tmp_path / "temporary")


@pytest.mark.parametrize(
    ("code", "wanted", "said"),
    [
        ("import sys; sys.exit(5)", 5, ""),
        ("import sys; sys.exit('no luck')", 1, "no luck\n"),
        ("raise ValueError('no luck')", 1, "ValueError: no luck\n"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import os; os._exit(4)", 4, ""),
        ("import threading; threading.Timer(0.2, lambda: print('late')).start()", 0, ""),
    ],
)
def test_it_ends_as_the_script_ends(code: str, wanted: int, said: str, tmp_path: Path) -> None:
    ran, plain = (_ran(tmp_path, code, python=python) for python in (None, sys.executable))
    assert ran["code"] == wanted == plain["code"]
    assert str(ran["err"]).endswith(said)
    assert ran["out"] == plain["out"]


def _waiting(folder: Path) -> tuple["subprocess.Popen[str]", int]:
    """Start a script that waits; return its client, and the number of its own process."""
    (folder / "wait.py").write_text(f"import os; print(os.getpid())\n{WAIT}")
    process = subprocess.Popen([warm_python(), str(folder / "wait.py")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    assert process.stdout.readline() == "ready\n"
    return process, worker


def test_signals_reach_the_script_once(tmp_path: Path) -> None:
    process, worker = _waiting(tmp_path)
    process.send_signal(signal.SIGUSR1)
    assert process.stdout is not None
    assert process.stdout.readline() == f"told {signal.SIGUSR1:d}\n"
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate()
    assert (process.returncode, said) == (3, f"told {signal.SIGTERM:d}\n")
    process, worker = _waiting(tmp_path)
    handler = psutil.Process(worker).ppid()
    for number in (worker, handler, process.pid):  # as a terminal or Slurm does it
        os.kill(number, signal.SIGUSR1)
    time.sleep(3 * server.TO_ALL_WITHIN)
    process.terminate()
    said, _ = process.communicate()
    assert (process.returncode, said) == (3, f"told {signal.SIGUSR1:d}\ntold {signal.SIGTERM:d}\n")


@pytest.mark.parametrize("killed", ["client", "handler"])
def test_a_script_does_not_outlive_what_waits_for_it(killed: str, tmp_path: Path) -> None:
    process, worker = _waiting(tmp_path)
    found = psutil.Process(worker)
    os.kill(process.pid if killed == "client" else found.ppid(), signal.SIGKILL)
    found.wait(60)
    process.communicate()
    assert process.returncode == (-9 if killed == "client" else 1)


SERVE = """import pathlib, sys
from ehap.workflow.warm import server
folder = pathlib.Path(sys.argv[1])
server.serve(folder, sys.argv[2], lambda: (folder / "true").exists())
"""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Path]:
    """The folder of a server without libraries, for the environment of this process."""
    folder = tmp_path / "servers"
    folder.mkdir()
    (folder / server.OWNER).write_text(str(os.getpid()))
    (folder / server.JOBS).mkdir()
    (folder / "true").touch()
    environment = _environment()
    address = client.address_of(str(folder), environment)
    Path(client.LOG.format(address)).touch()
    command = [sys.executable, "-c", SERVE, str(folder), address]
    process = subprocess.Popen(command, env=environment | {"PYTHONPATH": str(ROOT)})
    while not Path(address).exists():
        assert process.poll() is None
        time.sleep(0.01)
    yield folder
    process.terminate()
    process.wait()


def _by(folder: Path, *command: str, **environment: str) -> str:
    words = [sys.executable, "-IS", str(CLIENT), str(folder), *command]
    return subprocess.run(words, env=_environment() | environment, capture_output=True, text=True, check=True).stdout


def test_a_server_answers_its_own_environment_while_nothing_was_installed(own_server: Path) -> None:
    parent = ["-c", "import os; print(open(f'/proc/{os.getppid()}/cmdline').read().count('server.serve'))"]
    assert _by(own_server, *parent) == "1\n"
    assert _by(own_server, *parent, SHLVL="7") == "1\n"
    (own_server / "true").unlink()
    assert _by(own_server, *parent) == "0\n"  # an ordinary Python ran it
    (own_server / "true").touch()
    assert _by(own_server, *parent) == "1\n"
    assert _by(own_server.with_name("none"), *parent) == "0\n"


def test_the_first_of_another_environment_starts_a_server_and_does_not_wait(own_server: Path) -> None:
    before = set(own_server.glob("*.log"))
    parent = ["-c", "import os; print(open(f'/proc/{os.getppid()}/cmdline').read().count('server.py'))"]
    assert _by(own_server, *parent, OMP_NUM_THREADS="7") == "0\n"
    (log,) = set(own_server.glob("*.log")) - before
    (started,) = [each for each in psutil.process_iter(["cmdline"]) if str(log.with_suffix("")) in each.info["cmdline"]]
    while not log.with_suffix("").exists():
        assert started.is_running()
        time.sleep(0.05)
    assert _by(own_server, *parent, OMP_NUM_THREADS="7") == "1\n"
    started.terminate()


def test_what_a_job_has_used_is_noted_for_its_shell(own_server: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    process = subprocess.Popen([sys.executable, "-IS", str(CLIENT), str(own_server), "-c", burn], env=_environment())
    assert process.wait() == 0
    used = json.loads((own_server / server.JOBS / str(process.pid)).read_text())
    assert 0.5 <= used["cpu_seconds"] < 0.5 + used["seconds"]
    assert 0 < used["max_rss_mb"] < 500


def test_a_file_of_the_project_that_is_written_changes_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ehap/stages").mkdir(parents=True)
    file = tmp_path / "ehap/stages/one.py"
    file.write_text("A = 1\n")
    monkeypatch.setattr(server, "ROOT", tmp_path)
    before = server.state()
    assert server.state() == before
    times = file.stat()
    file.write_text("A = 2\n")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # equal size, equal time
    assert server.state() != before


def test_the_jobs_of_a_run_are_measured_in_full(finished: Path) -> None:
    """The finished run's jobs were forked: short ones have their time, too, and the run ends with a table of it."""
    benchmarks = {path: path.read_text().splitlines() for path in (finished / "logs").rglob("*.tsv")}
    assert len(benchmarks) > 10
    for path, (names, numbers) in benchmarks.items():
        row = dict(zip(names.split("\t"), numbers.split("\t"), strict=True))
        assert 0.02 < float(row["cpu_time"]) < float(row["s"]) + 0.1, path  # one thread
        assert float(row["max_rss"]) > 50, path
    said = (finished / "said.txt").read_text()
    line = [line.split() for line in said.splitlines() if line.startswith("evaluate_pruned")][-1]
    found = [
        benchmarks[path][1].split("\t")
        for path in benchmarks
        if "/evaluate/" in str(path) and path.stem in ("hap", "random")
    ]
    assert int(line[1]) == len(found) == 2
    assert float(line[2]) == pytest.approx(sum(float(row[-1]) for row in found), abs=0.06)
