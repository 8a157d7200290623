"""Methods that stand for several: one for each value of a list in the configuration."""

from collections.abc import Mapping
from typing import Any

from ehap.errors import SettingsError
from ehap.settings.build import mapping_at
from ehap.settings.prune import BUDGETS

SWEPT = (
    ("prune", BUDGETS, "budgets"),
    ("reconstruct", ("images",), "numbers of images"),
    ("reconstruct", ("draw",), "draws"),
)
"""Stage, settings that may be lists, and a noun for them."""
LISTS = {stage: tuple(key for each, keys, _ in SWEPT if each == stage for key in keys) for stage, *_ in SWEPT}
"""Stage to its settings that may be lists in a method."""


def with_sweeps(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with one method for each value of a method's list, grid included.

    Lists are a budget, ``gate`` to ``gate-30``, and the images and draws of a reconstruction, ``gate`` to
    ``gate-images64`` and ``gate-draw1``.

    Raises:
        SettingsError: A list is empty, is one of several of its kind, or gives an invalid or duplicate name.
    """
    for stage, keys, noun in SWEPT:
        config = _swept(dict(config), stage, keys, noun)
    return dict(config)


def suffix(key: str, value: Any, where: str = "") -> str:
    """Return the end of a method's name that stands for one value of a swept setting, e.g. ``-30`` or ``-draw1``.

    Args:
        key: Name of the setting: a budget, ``images`` or ``draw``.
        value: Value of the setting.
        where: Path of the setting in the configuration, for messages.

    Raises:
        SettingsError: The value makes no name.
    """
    return f"-{_percent(where, value) if key in BUDGETS else _whole(key, where, value)}"


def _swept(config: dict[str, Any], stage: str, keys: tuple[str, ...], noun: str) -> dict[str, Any]:
    """Return the configuration with one method for each value of a list under one of a stage's ``keys``."""
    methods: dict[Any, Any] = {}
    swept: dict[Any, list[str]] = {}
    for name, block in mapping_at(config, "methods").items():
        found = block.get(stage) if isinstance(block, Mapping) else None
        override = found if isinstance(found, Mapping) else {}
        lists = [key for key in keys if isinstance(override.get(key), list)]
        if not lists:
            methods[name] = block
            continue
        if len(lists) > 1 or not override[lists[0]]:
            raise SettingsError(f"methods.{name}.{stage}: expected one list of {noun} with at least one value.")
        for value in override[lists[0]]:
            where = f"methods.{name}.{stage}.{lists[0]}"
            one = f"{name}{suffix(lists[0], value, where)}"
            if one in methods or one in mapping_at(config, "methods"):
                raise SettingsError(f"{where}: {value} makes a second method named {one}.")
            methods[one] = {**block, stage: {**override, lists[0]: value}}
            swept.setdefault(name, []).append(one)
    grid = config.get("grid")
    if not swept or not isinstance(grid, Mapping) or not isinstance(grid.get("methods"), list):
        return {**config, "methods": methods} if swept else config
    named = [one for name in grid["methods"] for one in (swept.get(name, [name]) if isinstance(name, str) else [name])]
    return {**config, "methods": methods, "grid": {**grid, "methods": named}}


def _whole(noun: str, where: str, value: Any) -> str:
    """Return a whole number in the form used in names."""
    text = isinstance(value, str) and value.isdecimal()  # as nested values of --config may come
    if not text and (not isinstance(value, int) or isinstance(value, bool)):
        raise SettingsError(f"{where}: expected whole numbers, got {value!r}.")
    return f"{noun}{int(value)}"


def _percent(where: str, value: Any) -> str:
    """Return a share in the form used in names: 0.125 as 12_5."""
    try:
        return f"{100 * float(value):g}".replace(".", "_")
    except (TypeError, ValueError):
        raise SettingsError(f"{where}: expected numbers, got {value!r}.") from None
