"""What Snakemake leaves to a workflow whose jobs go to a cluster."""

import os
import sys
from pathlib import Path
from shlex import quote

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


def check_paths() -> None:
    """Refuse folders whose name would be another one in what Slurm is told.

    Raises:
        SettingsError: The project or its Python lies in a folder with such a name.
    """
    for path in (Path.cwd(), Path(sys.executable)):
        found = sorted({character for character in os.fspath(path) if character in SPECIAL})
        if found:
            raise SettingsError(
                f"{path}: no job of a cluster starts in a folder whose name holds {' or '.join(map(repr, found))}; "
                "a space or an apostrophe is fine. Rename the folder."
            )
