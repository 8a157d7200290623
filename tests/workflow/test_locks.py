"""One job at a time for each output."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from ehap.workflow.locks import alone

HOLDER = """
import sys
from pathlib import Path
from ehap.workflow.locks import alone
with alone(Path(sys.argv[1]), Path("made/model")):
    print("holds", flush=True)
    sys.stdin.readline()
    Path("log").open("a").write("first\\n")
"""


def test_a_second_job_waits_for_the_first_and_another_output_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-c", HOLDER, "states"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "holds\n"
        with alone(tmp_path / "states", Path("made/other")):
            assert not Path("log").exists()
        stdin = first.stdin

        def lets_go(record: logging.LogRecord) -> bool:  # as soon as the second says that it waits
            stdin.write("\n")
            stdin.flush()
            return True

        with caplog.at_level(logging.INFO):
            monkeypatch.setattr(caplog.handler, "filters", [lets_go])  # all tests share the handler
            with alone(tmp_path / "states", Path("made/model")):
                assert Path("log").read_text() == "first\n"
    assert "another job is at work on made/model; waiting until it has ended" in caplog.text


def test_without_a_folder_for_states_nothing_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with alone(None, Path("made/model")):
        assert not list(tmp_path.iterdir())
