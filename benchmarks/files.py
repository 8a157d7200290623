"""Files of a benchmark: tables for programs, a page for readers, and the journal of an unfinished run."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas

from benchmarks.benchmark import Row
from ehap.errors import SettingsError
from ehap.runtime.files import write_atomically


def write_benchmark(
    folder: Path,
    tables: Mapping[str, pandas.DataFrame],
    title: str,
    command: str,
    about: str = "",
    unfinished: Iterable[str] = (),
) -> str:
    """Write each table as CSV, and all of them as one Markdown page.

    Args:
        folder: Folder of the device; made where it is missing.
        tables: File name, without its ending, to table; the page takes the first name. Empty tables are left out.
        title: Title of the page.
        command: Command that measures it again.
        about: Description of the numbers.
        unfinished: Labels of the parts that are not measured yet; the page lists them.

    Returns:
        The page.
    """
    shown = {name: table for name, table in tables.items() if len(table)}
    for name, table in shown.items():
        write_atomically(folder / f"{name}.csv", table.to_csv(index=False).encode())
    left = ", ".join(unfinished)
    parts = [
        f"# {title}",
        f"`{command}`",
        " ".join(filter(None, [about, f"**Unfinished: {left} not measured yet.**" if left else ""])),
        *(table.astype(object).fillna("").to_markdown(index=False) for table in shown.values()),
    ]
    page = "\n\n".join(filter(None, parts)) + "\n"
    write_atomically(folder / f"{next(iter(tables))}.md", page.encode())
    return page


class Journal:
    """Rows of an unfinished run by the label of their part, so that a run that was cut goes on.

    Args:
        path: Its file, deleted when the run is finished.
        command: Command of this run.
        resume: Whether to take over the rows that are there.

    Raises:
        SettingsError: ``resume`` is asked for, and there is no unfinished run of this command.
    """

    def __init__(self, path: Path, command: str, resume: bool) -> None:
        self._path, self._command = path, command
        self.rows: dict[str, list[Row]] = {}
        if not resume:
            return
        try:
            kept = json.loads(path.read_text())
            earlier, rows = str(kept["command"]), dict(kept["rows"])
        except (OSError, ValueError, KeyError, TypeError):
            raise SettingsError(f"--resume: there is no unfinished run in {path}; leave --resume out.") from None
        if earlier != command:
            raise SettingsError(
                f"--resume: the unfinished run in {path} is of `{earlier}`; type that, or leave it out."
            )
        self.rows = rows

    def add(self, label: str, rows: list[Row]) -> None:
        """Keep the rows of a part."""
        self.rows[label] = rows
        write_atomically(self._path, json.dumps({"command": self._command, "rows": self.rows}, indent=1).encode())

    def close(self) -> None:
        """Delete the file: the run is finished."""
        self._path.unlink(missing_ok=True)
