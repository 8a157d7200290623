"""Operations carried out on a project, and what must hold after each of them."""

import os
import signal
from random import Random

from tests.workflow.conftest import GIT
from tests.workflow.random_runs.grid import INPUTS, JOBS, KNOBS, closed
from tests.workflow.random_runs.holding import BrokenError, Known
from tests.workflow.random_runs.operations import Operation
from tests.workflow.random_runs.project import Ended, kill

TRIES = 3
OTHER = "Made from other files"
NOTHING = "Nothing to be done"
TRAINED = ("pretrain", "trace", "finetune/hap", "finetune/random")
"""Jobs whose work is never lost once it has ended."""


class Driver(Known):
    """A finished project on which operations are carried out."""

    def do(self, operation: Operation) -> None:
        """Carry out an operation."""
        kind, *arguments = operation
        getattr(self, f"_{kind}")(*arguments)

    def finish(self) -> None:
        """Run to the end; all is as if run from nothing, and nothing is left to be done."""
        for _ in range(TRIES):
            ended = self._whole(self.project.run())
            if ended.code == 0 and OTHER not in ended.said:
                break
        else:
            raise BrokenError("never ends", f"{TRIES} runs: {ended.said[-3000:]}")
        self._equal("final")
        dry = self.project.run("--dry-run")
        if NOTHING not in dry.said or OTHER in dry.said:
            raise BrokenError("no rest", dry.said[-3000:])
        self._tidy()

    # Edits

    def _edit(self, knob: str, value: int, time: str) -> None:
        if self.project.state[knob] != value:
            self.project.edit(knob, value, time)
            self.changed |= set(KNOBS[knob].jobs)

    def _flip(self, knob: str) -> None:
        value = (self.project.state[knob] + 1) % KNOBS[knob].values
        self.project.edit(knob, value)
        self.changed |= set(KNOBS[knob].jobs)

    def _input(self, knob: str, value: int, time: str) -> None:
        if self.project.state[knob] != value:
            self.changed |= set(KNOBS[knob].jobs)
        self.project.edit(knob, value, time)

    def _comment(self, knob: str) -> None:
        path = self.project.folder / f"ehap/stages/{knob.removeprefix('code ')}.py"
        path.write_text(path.read_text() + "# One more.\n")

    def _touch(self, seed: int) -> None:
        random = Random(seed)
        folder = self.project.folder
        files = sorted(path for path in (folder / "results").rglob("*") if path.is_file())
        for path in [*files, folder / "mine.safetensors", folder / "run.yaml"]:
            time = 1_700_000_000 + random.randint(0, 50_000_000)
            os.utime(path, (time, time))

    def _delete(self, job: str, which: int) -> None:
        names = JOBS[job].files
        chosen = names if which >= len(names) else names[which : which + 1]
        for name in chosen:
            (self.project.folder / name).unlink(missing_ok=True)
        self.changed.add(job)
        self.spoiled.add(job)

    def _damage(self, job: str, which: int) -> None:
        path = self.project.folder / JOBS[job].files[which % len(JOBS[job].files)]
        if path.is_file():
            content, found = bytearray(path.read_bytes()), path.stat()
            place = content.find(b'digest": "') + 10 if path.suffix == ".json" else -1
            content[place] = ord("0") if content[place] != ord("0") else ord("1")
            if found.st_nlink > 1 or path.is_symlink():
                path.unlink()  # what it is linked to is another's
            path.write_bytes(content)
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
            self.changed.add(job)
            self.spoiled.add(job)

    def _forget(self) -> None:
        self.project.release()
        self._all_may_run()
        for path in sorted((self.project.folder / ".snakemake").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    # Runs

    def _run(self) -> None:
        ended = self._whole(self.project.run())
        if ended.code:
            raise BrokenError("a run fails", ended.said[-3000:])
        if self.references.has(self.project.state):
            self._equal("run")

    def _touched(self) -> None:
        """Have Snakemake touch everything, as people do who want no rerun."""
        self.project.run("--touch")

    def _move(self) -> None:
        self.project.release()
        place = self.project.folder.parent / f"moved{self.runs}"
        self.project.folder.rename(place)
        self.project.folder = place

    def _target(self, job: str) -> None:
        if job in self._planned_jobs():
            ended = self._ran(self.project.run(JOBS[job].files[0]))
            if ended.code:
                raise BrokenError("a run fails", ended.said[-3000:])

    def _killed(self, job: str, point: str, what: str) -> None:
        def meanwhile(snakemake: int, number: int) -> None:
            if what == "both":
                kill(snakemake, number)
            elif what == "snakemake":
                kill(snakemake)
            elif what == "orphan":
                kill(snakemake)
                self.project.leave(job, number)
            elif what == "job":
                kill(number)
            elif what == "interrupt":
                os.kill(snakemake, signal.SIGINT)
                os.kill(number, signal.SIGINT)
            else:
                os.kill(snakemake, signal.SIGTERM)

        ended = self.project.run_to(job, point, meanwhile)
        # What a job has written, and not noted yet, is deleted by the one that comes after it.
        self._cut(ended, job, point == "written" or what not in ("snakemake", "orphan", "terminate"))

    def _fails(self, job: str, point: str) -> None:
        ended = self.project.run_failing(job, point)
        self._cut(ended, job, True)

    def _edited(self, job: str, point: str, knob: str, value: int, time: str, back: int) -> None:
        def meanwhile(snakemake: int, number: int) -> None:
            before = self.project.state[knob]
            self.project.edit(knob, before + value, time)
            self.changed |= set(KNOBS[knob].jobs)
            if back:
                self.project.edit(knob, before, time)

        ended = self.project.run_to(job, point, meanwhile)
        if ended.reached:
            self._ran(ended)
            silent = ended.code == 0 and OTHER not in ended.said and (back or knob in INPUTS)
            if silent and not self._is_equal():  # an edit of settings or code is the next start's to find
                raise BrokenError("not said", ended.said[-3000:])
        elif ended.code == 0:
            self._whole(ended)

    def _cut(self, ended: Ended, job: str, lost: bool) -> None:
        if ended.reached and lost:
            self.spoiled.add(job)
        if ended.reached or ended.code:
            self._ran(ended)
            self.changed.add(job)
            if lost:
                self.spoiled.add(job)
        else:
            self._whole(ended)

    def _whole(self, ended: Ended) -> Ended:
        self._ran(ended)
        if ended.code == 0:
            self.changed = set()
        return ended

    def _ran(self, ended: Ended) -> Ended:
        """Check that nothing ran but what depends on an operation, and that no training was done twice."""
        self.runs += 1
        self.jobs += len(ended.begun)
        more = set(ended.begun) - closed(self.changed)
        if more:
            raise BrokenError(
                "runs too much", f"{sorted(more)}; touched {sorted(self.changed)}; {_reasons(ended.said)}"
            )
        for job, key in ended.made:
            if job in TRAINED and self.made.get(job) == key and job not in self.spoiled:
                raise BrokenError("done twice", f"{job}; {_reasons(ended.said)}")
            self.made[job] = key
            self.spoiled.discard(job)
        return ended

    # Sharing

    def _links(self, kind: str) -> None:
        assert self.project.python("-m", "dvc", "config", "cache.type", kind).returncode == 0

    def _push(self) -> None:
        self.project.release()
        project = self.project
        for command in (
            ["-m", "ehap.workflow", "pack"],
            ["-m", "dvc", "commit", "--force", "--quiet", "run@small"],
            ["-m", "dvc", "push", "--quiet"],
        ):
            if project.python(*command).returncode:
                return
        for command in (["add", "--all"], ["commit", "--quiet", "--allow-empty", "--message", "run"]):
            assert project.command(*GIT, *command).returncode == 0
        commit = project.command(*GIT, "rev-parse", "HEAD").stdout.strip()
        self.pushed.append((commit, dict(project.state)))
        wrong = [path for path in self._differing() if (project.folder / path).exists()]
        if wrong:
            raise BrokenError("pushed", f"does not belong to the state: {', '.join(wrong)}")

    def _back(self, which: int, what: str, restore: int) -> None:
        self.project.release()
        if not self.pushed:
            return
        commit, state = self.pushed[which % len(self.pushed)]
        paths = ["dvc.lock"] if what == "outputs" else ["."]
        assert self.project.command(*GIT, "checkout", "--quiet", commit, "--", *paths).returncode == 0
        if what != "outputs":
            self.project.state = dict(state)
        if what != "code":
            done = self.project.python("-m", "dvc", "checkout", "--force", "--quiet", "run@small")
            assert done.returncode == 0, done.stderr
            if restore:
                self.project.python("-m", "ehap.workflow", "restore")
        self._all_may_run()


def _reasons(said: str) -> str:
    lines = [line.strip() for line in said.splitlines()]
    return "\n".join(line for line in lines if line.startswith(("rule ", "localrule ", "reason:")) or OTHER in line)[
        -3000:
    ]
