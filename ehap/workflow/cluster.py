"""What Snakemake leaves to a workflow whose jobs go to a cluster."""

import os
import sys
from pathlib import Path
from shlex import quote
from typing import Any

from snakemake_interface_executor_plugins.executors.real import RealExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from ehap.errors import SettingsError

SPECIAL = "$`\\%\n"
"""What becomes something else where a job's command stands in double quotes, or Slurm reads the name of a log."""


def quote_interpreter() -> None:
    """Quote the path of Python in the commands of cluster jobs, as every other path in them is.

    Snakemake 9.27 writes that one as it is, so that no job starts from an environment in a folder with a space.
    """
    written = RealExecutor.format_job_exec

    def command(self: RealExecutor, job: JobExecutorInterface) -> str:
        python = self.get_python_executable()
        plain: str = written(self, job)
        return plain.replace(f"{python} -m snakemake", f"{quote(python)} -m snakemake", 1)

    RealExecutor.format_job_exec = command


def keep_asking() -> None:
    """Have a question to Slurm that gets no answer asked again later.

    The executor for Slurm, 2.8.0, forgets all its jobs then, and waits for them for ever; where the controller does not
    say how long it remembers jobs, it also asks sacct, which has no answer where there is no accounting database.
    """
    executor: Any = sys.modules.get("snakemake_executor_plugin_slurm")
    if executor is None:
        return
    asked = executor.query_job_status

    async def states(*question: Any) -> tuple[dict[str, str], float]:
        found, seconds = await asked(*question)
        return ({}, 0.0) if found is None else (found, seconds)  # a job of which nothing is known goes on

    executor.query_job_status = states


def check_paths() -> None:
    """Refuse folders whose name would be another one in what Slurm is told.

    Raises:
        SettingsError: The project or its Python lies in a folder with such a name.
    """
    for path in (Path.cwd(), Path(sys.executable)):
        found = sorted({character for character in os.fspath(path) if character in SPECIAL})
        if found:
            raise SettingsError(
                f"{path}: no job of Slurm starts in a folder whose name holds {' or '.join(map(repr, found))}; "
                "a space or an apostrophe is fine. Rename the folder."
            )
