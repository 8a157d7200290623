"""The ground for sequences: a finished run of the template, references, and a folder for each sequence."""

import shutil
import traceback
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from tests.workflow.random_runs.driver import Driver
from tests.workflow.random_runs.grid import START, write_state
from tests.workflow.random_runs.holding import BrokenError
from tests.workflow.random_runs.operations import Operation
from tests.workflow.random_runs.project import copy_of
from tests.workflow.random_runs.references import References
from tests.workflow.random_runs.stubs import make_template


class Ground:
    """What sequences start from.

    Args:
        folder: Is filled.
        cores: That each run of Snakemake uses.
    """

    def __init__(self, folder: Path, cores: int = 1) -> None:
        self.folder, self.cores, self.count = folder, cores, 0
        template, self.finished = folder / "template/project", folder / "finished/project"
        with FileLock(folder / "lock"):
            if not self.finished.exists():
                make_template(template)
                project = copy_of(template, self.folder / "first/project")
                write_state(project.folder, START)
                ended = project.run()
                assert ended.code == 0, ended.said
                project.folder.parent.rename(self.finished.parent)
        self.references = References(folder / "references", template)

    def outcome(self, operations: Sequence[Operation]) -> tuple[str, Driver]:
        """Carry out a sequence; return what went wrong, if anything, and what was done."""
        import os

        self.count += 1
        folder = self.folder / f"sequence{os.getpid()}-{self.count}"
        driver = Driver(copy_of(self.finished, folder / "project", self.cores), self.references)
        verdict = ""
        try:
            for operation in operations:
                driver.do(operation)
            driver.finish()
        except BrokenError as error:
            verdict = str(error)
        except Exception:
            verdict = f"error: {traceback.format_exc()}"
        finally:
            try:
                driver.project.release()
            except Exception:
                verdict = verdict or f"error: {traceback.format_exc()}"
            shutil.rmtree(folder, ignore_errors=True)
        return verdict, driver

    def shrunk(self, operations: list[Operation], verdict: str) -> tuple[list[Operation], str]:
        """Return a sequence without the operations that a failure of this kind does not need."""
        place = 0
        while place < len(operations):
            fewer = operations[:place] + operations[place + 1 :]
            found, _ = self.outcome(fewer)
            if found.split(":")[0] == verdict.split(":", maxsplit=1)[0]:
                operations, verdict = fewer, found
            else:
                place += 1
        return operations, verdict
