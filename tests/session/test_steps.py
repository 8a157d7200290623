"""Steps are processes that end in time, side by side or alone."""

from pathlib import Path

import pytest

from ehap.session.steps import Clock, Step, run_steps

HEAD = """
import pathlib, signal, sys, time
here, name = pathlib.Path(sys.argv[1]), sys.argv[2]
(here / name).write_text(str(time.monotonic()))
"""


def _step(folder: Path, name: str, then: str, alone: bool = False, tells: bool = False) -> Step:
    command = ["-c", HEAD + then, str(folder), name]
    return Step(name, command, folder / f"{name}.txt", least=0.0, alone=alone, tells=tells)


def _began(folder: Path, name: str) -> float:
    return float((folder / name).read_text())


def test_a_step_is_cut_off_when_the_time_is_over_and_no_other_begins(tmp_path: Path) -> None:
    long = _step(tmp_path, "long", "print('begun', flush=True); time.sleep(1000)")
    late = _step(tmp_path, "late", "")
    clock, packed = Clock(10_000), []

    def keep() -> None:
        packed.append(long.state)
        if long.log.read_text():
            clock.budget = 0

    run_steps([long, late], clock, {}, keep)
    assert (long.state, late.state) == ("cut off", "skipped")
    assert long.log.read_text() == "begun\n"
    assert (packed[0], packed[-1]) == ("running", "cut off")
    assert not (tmp_path / "late").exists()


def test_a_step_that_keeps_its_state_may_end_in_peace(tmp_path: Path) -> None:
    keeps = "signal.signal(signal.SIGTERM, lambda *_: (print('kept', flush=True), sys.exit(143)))\n"
    step = _step(tmp_path, "polite", keeps + "print('ready', flush=True); time.sleep(1000)", tells=True)
    clock = Clock(10_000)
    run_steps([step], clock, {}, lambda: clock.stop() if step.log.read_text() else None)
    assert (step.state, step.note) == ("cut off", "kept")


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_what_must_be_alone_is_alone(side_by_side: int, tmp_path: Path) -> None:
    meet = "while not all((here / each).exists() for each in ('second', 'third')): time.sleep(0.05)"
    nap = "time.sleep(1)"
    first = _step(tmp_path, "first", nap, alone=True)
    others = [_step(tmp_path, name, nap if side_by_side == 1 else meet) for name in ("second", "third")]
    run_steps([first, *others], Clock(10_000), {}, lambda: None, side_by_side)
    assert [step.state for step in (first, *others)] == ["ended"] * 3
    begins = [_began(tmp_path, name) for name in ("first", "second", "third")]
    assert min(begins[1:]) - begins[0] > 1
    assert side_by_side == 2 or begins[2] - begins[1] > 1


def test_a_failure_is_told_by_its_last_line(tmp_path: Path) -> None:
    step = _step(tmp_path, "wrong", "raise ValueError('of this')")
    run_steps([step], Clock(10_000), {}, lambda: None)
    assert (step.state, step.note) == ("failed", "ValueError: of this")
