"""What a benchmark has measured, as files: a table for programs and a page for readers."""

import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas

from ehap.runtime.files import write_atomically


def write_benchmark(
    folder: Path, tables: Mapping[str, pandas.DataFrame], title: str, about: str = "", unfinished: Iterable[str] = ()
) -> str:
    """Write each table as CSV, and all of them as one Markdown page under the command that is running.

    Written after each part of the work, they keep what is measured if a later part fails.

    Args:
        folder: Of the device; made where it is missing.
        tables: File name, without its ending, to table; the page takes the first name. Empty tables are left out.
        title: Of the page.
        about: What the numbers are.
        unfinished: What has not been measured yet; the page says so.

    Returns:
        The page.
    """
    shown = {name: table for name, table in tables.items() if len(table)}
    for name, table in shown.items():
        write_atomically(folder / f"{name}.csv", table.to_csv(index=False).encode())
    left = ", ".join(unfinished)
    script = "/".join(Path(sys.argv[0]).resolve().parts[-2:])
    parts = [
        f"# {title}",
        f"`{shlex.join(['python', script, *sys.argv[1:]])}`",
        " ".join(filter(None, [about, f"**Unfinished: {left} not measured yet.**" if left else ""])),
        *(table.astype(object).fillna("").to_markdown(index=False) for table in shown.values()),
    ]
    page = "\n\n".join(filter(None, parts)) + "\n"
    write_atomically(folder / f"{next(iter(tables))}.md", page.encode())
    return page
