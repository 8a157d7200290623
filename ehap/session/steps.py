"""Steps of a session: each a process of its own, ended when the time is over."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

GRACE = 15.0
"""Seconds that a process has, once it is told to stop, to keep its state."""
CLOSING = 10.0
"""Seconds to pack the last archive and to write the summary."""
BETWEEN_LOOKS = 0.2
LONGEST_NOTE = 500
PR_SET_PDEATHSIG = 1  # of prctl(2)
State = Literal["waiting", "running", "ended", "failed", "cut off", "skipped"]


@dataclass
class Step:
    """One process and its outcome.

    name: Name in the summary. command: Arguments of the interpreter; empty if there is nothing to do. log: File for
    both outputs. least: Seconds below which the step is not begun. alone: Whether no other step may run beside it.
    tells: Whether the last line of the log becomes a note.
    """

    name: str
    command: Sequence[str]
    log: Path
    least: float
    alone: bool = False
    tells: bool = False
    seconds: float = 0.0
    state: State = "waiting"
    note: str = ""


@dataclass
class Clock:
    """The time of a session, and whether somebody has told it to stop."""

    budget: float
    began: float = field(default_factory=time.monotonic)
    stopped: bool = False

    def spent(self) -> float:
        """Return the seconds since the session began."""
        return time.monotonic() - self.began

    def left(self) -> float:
        """Return the seconds that steps still have."""
        return 0.0 if self.stopped else self.budget - GRACE - CLOSING - self.spent()

    def stop(self, *_: object) -> None:
        """End all steps: a handler of SIGTERM and SIGINT."""
        self.stopped = True


def run_steps(
    steps: Sequence[Step], clock: Clock, environment: Mapping[str, str], keep: Callable[[], None], side_by_side: int = 1
) -> None:
    """Run steps, ``side_by_side`` at a time, until all are done or the time is over; set their outcome.

    ``keep`` is called repeatedly, and after each step: it packs new files.
    """
    waiting = [step for step in steps if step.command]
    running: list[_Running] = []
    try:
        _run(waiting, running, clock, environment, keep, side_by_side)
    finally:
        _end([one.process for one in running])  # after an error, they must not run on beside the next part


def _run(
    waiting: list[Step],
    running: "list[_Running]",
    clock: Clock,
    environment: Mapping[str, str],
    keep: Callable[[], None],
    side_by_side: int,
) -> None:
    while waiting or running:
        while waiting and _has_room(waiting[0], running, side_by_side):
            step = waiting.pop(0)
            if clock.left() < step.least:
                step.state, step.note = "skipped", _why_skipped(step, clock)
                continue
            running.append(_Running(step, _started(step, environment), time.monotonic()))
            step.state = "running"
        if clock.left() <= 0:
            _end([one.process for one in running])
        for one in [one for one in running if one.process.poll() is not None]:
            running.remove(one)
            one.step.seconds = time.monotonic() - one.began
            _judge(one.step, one.process.returncode, over=clock.left() <= 0)
            keep()
        if running:
            keep()
            time.sleep(BETWEEN_LOOKS)


@dataclass(frozen=True)
class _Running:
    step: Step
    process: "subprocess.Popen[bytes]"
    began: float


def _has_room(step: Step, running: Sequence[_Running], side_by_side: int) -> bool:
    if step.alone or any(one.step.alone for one in running):
        return not running
    return len(running) < side_by_side


def _why_skipped(step: Step, clock: Clock) -> str:
    if clock.stopped:
        return "the session was told to stop"
    return f"{max(0.0, clock.left()):.0f} s left, and it needs {step.least:.0f} s"


def _started(step: Step, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    step.log.parent.mkdir(parents=True, exist_ok=True)
    with step.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *step.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C reaches the session only; it stops its processes
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (no threads here)
        )


def _die_with_parent() -> None:
    """Have the system end this process if the session is killed, so that it does not stay on the GPU."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # not Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Tell processes to stop; kill those that still run after GRACE seconds."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _judge(step: Step, code: int, over: bool) -> None:
    step.state = "ended" if code == 0 else "cut off" if over else "failed"
    if step.state == "failed" or step.tells:
        lines = step.log.read_text(errors="replace").strip().splitlines() or [f"exit code {code}, no message"]
        step.note = lines[-1].strip("= ")[:LONGEST_NOTE]
