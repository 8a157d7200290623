"""Files that cannot be written and file systems without locks, as a job meets them."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ehap.errors import EhapError, WriteError
from ehap.runtime.files import LogFile, locked, removals_wait, remove_folder, write_atomically, writing

TOO_LARGE = """
import resource, signal, sys
from pathlib import Path
from ehap.errors import EhapError
from ehap.runtime.files import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), bytes(2000))
except EhapError as error:
    sys.exit(f"error: {error}")
"""


def test_a_file_that_does_not_fit_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", TOO_LARGE, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {path}: it cannot be written (File too large); raise the limit on the size of files (ulimit -f), or "
        "work on another file system.\n"
    )
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_says_so() -> None:
    full = Path("/dev/full")
    with (
        pytest.raises(
            WriteError, match=r"^/dev/full: it cannot be written \(No space left on device\); free"
        ) as caught,
        writing(full),
    ):
        full.write_bytes(b"1")
    assert caught.value.errno == errno.ENOSPC
    assert isinstance(caught.value, EhapError)
    assert isinstance(caught.value, OSError)


def test_a_folder_that_takes_no_files_is_named() -> None:
    with pytest.raises(WriteError, match=r"/sys/kernel/record.json: it cannot be written \(.*\); (get|make) t"):
        write_atomically(Path("/sys/kernel/record.json"), b"1")


def test_other_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"1")
    assert not list(tmp_path.iterdir())


def test_a_lock_holds_until_its_file_is_closed(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as first, (tmp_path / "lock").open("w") as second:
        assert locked(first, wait=False)
        assert not locked(second, wait=False)
        first.close()
        assert locked(second, wait=True)


def test_a_lock_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from ehap.runtime.files import locked\n"
        "file = open(sys.argv[1], 'w'); print(locked(file, wait=True), flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with (tmp_path / "lock").open("w") as file:
        assert not locked(file, wait=False)
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
        assert locked(file, wait=False)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("wait", [True, False])
def test_without_locks_the_work_goes_on_and_the_log_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int, wait: bool
) -> None:
    def flock(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)  # no such file system can be mounted here
    for name in ("one", "two"):
        with (tmp_path / name).open("w") as file:
            assert locked(file, wait, "a second run")
    assert caplog.messages == [
        f"{tmp_path}: no locks on this file system ({os.strerror(number)}); nothing keeps away a second run"
    ]


LOGGED = """
import logging, resource, sys
from pathlib import Path
from ehap.runtime.files import LogFile
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
logger = logging.getLogger("ehap")
logger.addHandler(LogFile(Path(sys.argv[1])))
for number in range(1000):
    logger.warning("line %d", number)
print("the work is done")
"""


def test_the_work_goes_on_where_its_log_is_cut_off(tmp_path: Path) -> None:
    log = tmp_path / "deep/job.log"
    done = subprocess.run([sys.executable, "-c", LOGGED, str(log)], capture_output=True, text=True, check=True)
    assert done.stdout == "the work is done\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"warning: {log}: it cannot be written (File too large); raise the limit on the size")
    assert line.endswith("; the work goes on without its log")
    assert log.read_text().startswith("line 0\nline 1\n")


def test_a_log_that_cannot_be_made_is_named() -> None:
    with pytest.raises(WriteError, match=r"^/sys/kernel/job.log: it cannot be written"):
        LogFile(Path("/sys/kernel/job.log"))


def test_a_file_that_nobody_has_named_is_named_where_the_system_names_it() -> None:
    with pytest.raises(WriteError, match=r"^/sys/kernel/other: [OP].*; get the rights to it"), writing():
        Path("/sys/kernel/other").mkdir()
    with pytest.raises(WriteError, match=r"^a file: No space left on device; free some space"), writing():
        Path("/dev/full").write_bytes(b"1")


def test_what_is_to_be_removed_stays_where_the_work_ends_badly(tmp_path: Path) -> None:
    def work(fails: bool) -> None:
        with removals_wait():
            remove_folder(tmp_path / "state")
            assert (tmp_path / "state").exists()
            if fails:
                raise WriteError("no room for the record")

    (tmp_path / "state").mkdir()
    with pytest.raises(WriteError):
        work(fails=True)
    assert (tmp_path / "state").exists()
    work(fails=False)
    assert not (tmp_path / "state").exists()
    (tmp_path / "state").mkdir()
    remove_folder(tmp_path / "state")
    assert not (tmp_path / "state").exists()
