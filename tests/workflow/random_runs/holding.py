"""What must hold of a project after every operation."""

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from tests.workflow.random_runs.grid import DRAWN, JOBS, LASTING, METHODS, closed
from tests.workflow.random_runs.project import Project
from tests.workflow.random_runs.references import References

CHECK = """
import json
from dataclasses import asdict
from pathlib import Path
from ehap.workflow.check import checked
print(json.dumps(asdict(checked(Path("run.yaml")))))
"""


class BrokenError(AssertionError):
    """Something that must hold does not. kind: In a word or two, for a tally."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Known:
    """A project, and what must hold of it.

    Args:
        project: A finished one.
        references: Of its template.
    """

    def __init__(self, project: Project, references: References) -> None:
        self.project, self.references = project, references
        self.changed: set[str] = set()  # jobs that an operation has touched since the last run that ended well
        self.spoiled: set[str] = set()  # trainings that are not there whole since they were last made
        self.made: dict[str, str] = {}
        self.pushed: list[tuple[str, dict[str, int]]] = []
        self.forgotten = False  # whether Snakemake's notes were deleted
        self.runs = self.jobs = 0

    def _look(self) -> None:
        """What is not named as wrong belongs to the state; what is named does not."""
        done = self.project.python("-c", CHECK)
        if done.returncode:
            raise BrokenError("no comparison", done.stderr[-3000:])
        found = json.loads(done.stdout.splitlines()[-1])
        named, behind = found["wrong"], {*found["behind"], *found["old"]}  # old: said not to be known
        expected = self.references.of(self.project.state)
        unknown = closed(self._gone())  # what follows from a job that has left nothing
        for job in self._planned_jobs():
            files = JOBS[job].files
            digests = [_hash(self.project.folder / file) for file in files]
            if None in digests:
                continue
            same = digests == [expected[file] for file in files]
            if not same and files[0] not in {*named, *behind} and job not in unknown:
                raise BrokenError("vouched for", f"{job}; named are {json.dumps(named, indent=1)}")
            if same and files[0] in named and self._inputs_belong(job, expected):
                raise BrokenError("named without need", f"{job}: {named[files[0]]}")

    def _inputs_belong(self, job: str, expected: dict[str, str]) -> bool:
        needed = [file for name in JOBS[job].needs if name in self._planned_jobs() for file in JOBS[name].files]
        return all(_hash(self.project.folder / file) == expected[file] for file in needed)

    def _equal(self, when: str) -> None:
        wrong = self._differing()
        if wrong:
            raise BrokenError(f"not as from nothing ({when})", ", ".join(wrong))

    def _is_equal(self) -> bool:
        return not self._differing()

    def _differing(self) -> list[str]:
        """Return the files that are not as in a run from nothing; what was deleted is made where it is wanted only."""
        expected = self.references.of(self.project.state)
        wanted = {file for job in DRAWN for file in JOBS[job].files}
        found = {path: _hash(self.project.folder / path) for path in expected}
        return [path for path, digest in found.items() if digest != expected[path] and (digest or path in wanted)]

    def _tidy(self) -> None:
        folder = self.project.folder
        left = [str(path) for path in (folder / "results").rglob("*.tmp")]
        kept = (folder / "state/small/kept").rglob("kept.json")
        parts = self.project.state["shards"]  # those of a plan that is no more are nobody's to forget
        left += [str(path) for path in kept if not (parts and "parts" in path.parts)]
        if left:
            raise BrokenError("left behind", ", ".join(left))

    def _is_there(self, path: str) -> bool:
        return (self.project.folder / path).exists()

    def _gone(self) -> list[str]:
        """Return the jobs of which no output is there."""
        return [job for job in self._planned_jobs() if not any(map(self._is_there, JOBS[job].files))]

    def _planned_jobs(self) -> list[str]:
        methods = METHODS[self.project.state["methods"]]
        return [job for job in LASTING if "random" in methods or not job.endswith("/random")]

    def _all_may_run(self, jobs: Iterable[str] = JOBS) -> None:
        self.changed |= set(jobs)
        self.spoiled |= set(jobs)


def _hash(path: Path) -> str | None:
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else None
