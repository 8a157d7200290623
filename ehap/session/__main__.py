"""``python -m ehap.session``: costs, GPU tests and trainings in a few minutes; each part is packed when it ends."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ehap.errors import EhapError, SettingsError
from ehap.session import summary
from ehap.session.archive import empty, pack, put_text
from ehap.session.parts import BATCHES, OF_THE_PAPER, PARTS, ROOT, SMALL_RUN, Part
from ehap.session.steps import Clock, Step, run_steps

BETWEEN_PACKS = 2.0
STOPPED = 143  # as a shell reports a job that SIGTERM ended


class Session:
    """The steps of a session so far, and their archives.

    Args:
        out: Folder of the archives and the summary.
        scratch: Folder for everything else.
        clock: The session's time.
    """

    def __init__(self, out: Path, scratch: Path, clock: Clock) -> None:
        self._out, self._scratch, self._clock = out, scratch, clock
        self._steps: dict[str, Sequence[Step]] = {}
        self._archives: dict[str, list[str]] = {}
        self._left_out: dict[str, Sequence[str]] = {}

    @property
    def failed(self) -> bool:
        """Whether a step has failed."""
        return any(step.state == "failed" for steps in self._steps.values() for step in steps)

    def run(self, name: str, make: Callable[[], Part], environment: Mapping[str, str]) -> None:
        """Run one part; if it fails, the next one can begin all the same."""
        began = time.monotonic()
        print(f"{name}: {self._clock.left():.0f} s left", flush=True)
        try:
            part = make()
            self._steps[name] = part.steps
            keep = _Keeping(part, self._pack)
            run_steps(part.steps, self._clock, environment, keep, part.side_by_side)
            self._pack(part)
        except Exception as error:  # its traceback is packed, and the next parts run
            seconds = time.monotonic() - began
            note = " ".join(str(error).split())[:200]
            failed = Step(
                "the part itself",
                (),
                self._scratch / name / "failed.txt",
                0,
                seconds=seconds,
                state="failed",
                note=note,
            )
            self._steps[name] = [*self._steps.get(name, ()), failed]
            failed.log.parent.mkdir(parents=True, exist_ok=True)
            failed.log.write_text(traceback.format_exc())
            # One archive for all failures, to keep the number of files low.
            self._pack(Part("failed", self._scratch, [], lambda: sorted(self._scratch.glob("*/failed.txt"))), name)
        for step in self._steps[name]:
            print(f"  {step.name}: {step.state}, {step.seconds:.0f} s {step.note}".rstrip(), flush=True)

    def _pack(self, part: Part, name: str = "") -> None:
        packed = pack(self._out, part.name, part.root, part.files(), self._scratch, part.archives)
        known = self._archives.setdefault(name or part.name, [])
        known += [path.name for path in packed.archives if path.name not in known]
        self._left_out[part.name] = packed.left_out
        self.write_summary()

    def write_summary(self) -> str:
        """Write the page and return it."""
        left_out = [name for names in self._left_out.values() for name in names]
        notes = [f"Too large for the archives: {', '.join(left_out)}."] if left_out else []
        spent = f"{self._clock.spent():.0f} of {self._clock.budget:.0f} s"
        notes += [f"Stopped from outside after {spent}." if self._clock.stopped else f"After {spent}."]
        notes += filter(None, [summary.costs(self._scratch / "costs")])
        page = summary.page(self._steps, self._archives, notes)
        put_text(self._out / "summary.md", page, self._scratch)
        return page


class _Keeping:
    """Packs a part when one of its files is new or has changed."""

    def __init__(self, part: Part, pack_part: Callable[[Part], None]) -> None:
        self._part, self._pack, self._seen, self._last = part, pack_part, _seen(part), 0.0

    def __call__(self) -> None:
        if time.monotonic() - self._last < BETWEEN_PACKS:
            return
        self._last, seen = time.monotonic(), _seen(self._part)
        if seen != self._seen:
            self._seen = seen
            self._pack(self._part)


def _seen(part: Part) -> list[tuple[Path, int]]:
    """Return the part's files with their times, without logs: these change with every line."""
    return [(path, path.stat().st_mtime_ns) for path in part.files() if path.suffix != ".txt" and path.exists()]


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="gpu_session.py", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu_session"), help="folder of archives and summary: empty")
    parser.add_argument("--seconds", type=float, default=840.0, help="length of the whole session, summary included")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="in this order")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install first, for this session only")
    parser.add_argument("--data", type=Path, help="folder of datasets, as machine.data_folder")
    parser.add_argument("--models", nargs="+", choices=BATCHES, default=list(OF_THE_PAPER), help="models of the costs")
    parser.add_argument("--products", type=int, default=20, help="Hessian-vector products of each form and precision")
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "fp16", "bf16"], default=["fp32", "fp16", "bf16"])
    parser.add_argument(
        "--config",
        type=Path,
        help="configuration of the run with the trainings to go on with; without it there are none",
    )
    parser.add_argument("--root", type=Path, default=Path(), help="folder of its results/ and state/")
    parser.add_argument("--cells", nargs="+", help="e.g. finetune/cifar10/resnet56/seed0/hap; all if left out")
    parser.add_argument("--side-by-side", type=int, help="trainings at a time; machine.cells_per_gpu if left out")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="cuda; to rehearse, auto")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a process")
    parser.add_argument("--rehearse", action="store_true", help="small numbers, to try it, also without a GPU")
    args = parser.parse_args()
    if args.side_by_side is not None and args.side_by_side < 1:
        parser.error(f"argument --side-by-side: expected at least 1, got {args.side_by_side}")
    args.device = args.device or ("auto" if args.rehearse else "cuda")
    if args.rehearse:
        args.models = ["resnet20"]
        args.precisions = [name for name in args.precisions if name != "fp16"]  # 80 times slower on a CPU
    return args


def main() -> int:
    """Run the parts; return 1 if one failed, 143 if the session was told to stop."""
    clock, args = Clock(0), read_arguments()
    clock.budget = args.seconds
    if not empty(args.out):
        raise SettingsError(f"{args.out} is not empty; name another folder as --out, or empty it.")
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, clock.stop)
    try:
        return _run_parts(Session(out, scratch, clock), args, scratch, clock)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_parts(session: Session, args: argparse.Namespace, scratch: Path, clock: Clock) -> int:
    path = os.pathsep.join(_search_path(args.wheels, scratch))
    environment = {"PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    if args.rehearse and args.config is None:
        args.config, args.root = scratch / "rehearsal.yaml", scratch / "rehearsal"
        args.config.write_text(json.dumps(SMALL_RUN))
    session.write_summary()
    for name in args.parts:
        if name == "trainings" and args.config is None:
            print("trainings: left out, no --config names a run", flush=True)
            continue
        session.run(name, lambda name=name: PARTS[name](args, scratch), environment)  # type: ignore[misc]
    print(session.write_summary())
    return STOPPED if clock.stopped else int(session.failed)


def _search_path(wheels: Path | None, scratch: Path) -> list[str]:
    """Return the first folders of Python's search path: this project, then the given wheels, unpacked."""
    found = [str(ROOT)]
    if wheels is not None:
        files = [str(path) for path in sorted(wheels.glob("*.whl"))]
        if not files:
            raise SettingsError(f"--wheels: there is no .whl file in {wheels}; see envs/gpu_session.txt.")
        site = scratch / "site"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        done = subprocess.run([*pip, "--target", str(site), *files], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SettingsError(f"--wheels: pip cannot install them: {done.stderr.strip().splitlines()[-1][:200]}")
        found.append(str(site))
        sys.path.insert(1, str(site))
    return [*found, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EhapError as error:
        sys.exit(f"error: {error}")
