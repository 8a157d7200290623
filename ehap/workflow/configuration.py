"""A run's configuration as a file has it."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from ehap.errors import SettingsError
from ehap.settings import Run


def read_run(path: Path) -> Run:
    """Return the run that a configuration describes.

    Raises:
        SettingsError: There is no such file, it is not YAML, or a setting in it is wrong.
    """
    try:
        config = yaml.safe_load(path.read_text())
    except OSError:
        there = ", ".join(sorted(each.stem for each in path.parent.glob("*.yaml"))) or "none"
        raise SettingsError(f"{path}: expected a configuration there; in {path.parent} there are: {there}.") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: expected YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(config, Mapping):
        raise SettingsError(f"{path}: expected names and values as in config/config.yaml, got {config!r}.")
    return Run(config)
