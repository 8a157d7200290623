"""Command lines: of a job's script, and of a user who asks Snakemake for more of a run."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

CELL = ("dataset", "model", "seed", "method", "curvature", "scheme")


def files(leave_out: Sequence[str] = (), **more: Any) -> Callable[[Any, Any, Any], str]:
    """Return the function of a rule's params that gives the words of ``job_words``.

    It takes inputs and outputs. Snakemake does not compare such params: another option reruns nothing. Names of files
    are compared as inputs and outputs.

    Args:
        leave_out: Names of inputs that the script finds itself.
        more: Options; where the name is that of a part of the cell, that part. Each is a text, or a function of a job's
            wildcards and outputs that returns one.
    """

    def words(wildcards: Any, input: Any, output: Any) -> str:
        found = {name: each(wildcards, output) if callable(each) else each for name, each in more.items()}
        cell = dict(wildcards.items()) | {name: value for name, value in found.items() if name in CELL}
        options = {name: value for name, value in found.items() if name not in CELL}
        return job_words(cell, dict(input.items()), dict(output.items()), options, leave_out)

    return words


def job_words(
    wildcards: Mapping[str, Any],
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    options: Mapping[str, Any],
    leave_out: Sequence[str] = (),
) -> str:
    """Return the words that name a job's cell, its files and its options, quoted for a shell.

    Args:
        wildcards: Wildcards of the job; those that name no part of a cell are left out, and so are empty ones.
        inputs: Name to one path, or to several.
        outputs: Likewise.
        options: Further words by name.
        leave_out: Names of inputs that the script finds itself: a grid has more of them than a command line holds.
    """
    cell = {name: wildcards[name] for name in CELL if wildcards.get(name)}
    words = [word for name, value in cell.items() for word in (f"--{name}", str(value))]
    for flag, files in (("--input", inputs), ("--output", outputs)):
        for name, path in _each(files):
            if flag == "--output" or name not in leave_out:
                words += [flag, f"{name}={path}"]
    for name, value in options.items():
        words += ["--option", f"{name}={value}"]
    return " ".join(map(quote, words))


def _each(files: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each file with its name; a list repeats the name."""
    for name, found in files.items():
        yield from ((name, str(path)) for path in ([found] if isinstance(found, str | Path) else found))


def command_options(configurations: Sequence[Path], values: Mapping[str, Any]) -> str:
    """Return the options that name a run: its configuration files and the values of ``--config``.

    They follow the targets, since both take as many words as there are.

    Args:
        configurations: As ``--configfile`` has them; none where the run is that of config/config.yaml.
        values: As Snakemake has read ``--config``.
    """
    files = [quote(os.path.relpath(path)) for path in configurations]
    entries = [quote(f"{name}={_written(value)}") for name, value in values.items()]
    return " ".join([*(["--configfile", *files] if files else []), *(["--config", *entries] if entries else [])])


def _written(value: Any) -> str:
    """Return a value as ``--config`` reads it: JSON is YAML, but True is not read from true."""
    return json.dumps(value) if isinstance(value, dict | list) else "" if value is None else str(value)
