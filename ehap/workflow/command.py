"""How a user asks Snakemake for more of the same run, for the page of results to print."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any


def command_options(configurations: Sequence[Path], values: Mapping[str, Any]) -> str:
    """Return the options that name a run: its configuration files and what ``--config`` has set.

    They follow what is asked for, since both take as many words as there are.

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
