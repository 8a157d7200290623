"""Settings that have had another name: refused in a configuration, understood in a record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ehap.errors import SettingsError


@dataclass(frozen=True)
class Renamed:
    """The new name of a setting, and its new values by the old ones."""

    name: str
    values: Mapping[Any, Any]


RENAMED = {
    ("trace", "slow"): Renamed("allow_cpu_fp16", {"refuse": False, "accept": True}),
    ("prune", "weights"): Renamed("reinitialize", {"kept": False, "new": True}),
    ("prune", "normalise"): Renamed("balance", {"none": "none", "lamp": "lamp"}),
}
"""Stage and old name of each."""


def refuse_renamed(stage: str, settings: Mapping[str, Any], where: str) -> None:
    """Raise SettingsError where a block of a stage holds an old name; the message has the line to write."""
    for key, value in settings.items():
        found = RENAMED.get((stage, str(key)))
        if found is not None:
            line = f"{found.name}: {_value(found, value)}"
            raise SettingsError(f"{where}.{key}: this setting is called {found.name} now; write {line}.")


def _value(renamed: Renamed, value: Any) -> str:
    """Return the value to write under the new name."""
    known = isinstance(value, str) and value in renamed.values
    new = [renamed.values[value]] if known else renamed.values.values()
    return " or ".join(sorted((each if isinstance(each, str) else str(each).lower() for each in new), reverse=True))


def current_settings(stage: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a record under the names of today.

    Args:
        stage: Stage of the record.
        settings: Settings in the record, by old or new names.
    """
    known = {old: new for (of, old), new in RENAMED.items() if of == stage}
    return {
        known[name].name if name in known else name: known[name].values.get(value, value) if name in known else value
        for name, value in settings.items()
    }
