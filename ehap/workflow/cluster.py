"""Folders in which no job of Slurm starts."""

import os
import sys
from pathlib import Path

from ehap.errors import SettingsError

SPECIAL = "$`\\%\n"
"""Characters that change their meaning in double quotes, in which a job's command stands, or in the name of a log."""


def check_paths() -> None:
    """Refuse folders with a name that Slurm would read as another one.

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
