"""The settings as Markdown: types and defaults from the dataclasses, meanings from their docstrings."""

import dataclasses
import inspect
import json
import re
import types
import typing
from typing import Any

from ehap.errors import SettingsError
from ehap.settings.also_read import AlsoRead
from ehap.settings.build import KINDS_IN_WORDS
from ehap.settings.criteria import CRITERIA, NOTATION
from ehap.settings.machine import Machine
from ehap.settings.names import CHOICES, Grid
from ehap.settings.prune import OwnCriterion, Rounds
from ehap.settings.stages import SETTINGS
from ehap.settings.tables import Tables
from ehap.settings.trace import Until

BLOCKS: dict[str, type] = {
    "grid": Grid,
    "machine": Machine,
    "also_read": AlsoRead,
    **SETTINGS,
    "until": Until,
    "rounds": Rounds,
    "own_criterion": OwnCriterion,
    "tables": Tables,
}
INTRODUCTION = """\
# Settings

Every setting, block by block, with its values and its default. `make docs` writes this file from the dataclasses
in `ehap/settings/`: a change belongs there. Ranges are checked when a configuration is read; the message names them.
[README.md](README.md) says how the blocks work together.
"""
# An entry of a docstring is a line `name: text` or `a, b: text` and its indented lines. (Libraries that read docstrings
# know sections such as `Attributes:` only.)
ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.+(?:\n +.+)*)", re.MULTILINE)


def as_markdown() -> str:
    """Return a page with one table a block.

    Raises:
        SettingsError: A setting has no line in its class's docstring, or a line is of no setting.
    """
    return "\n".join([INTRODUCTION, *(section(name, kind) for name, kind in BLOCKS.items()), criteria()])


def criteria() -> str:
    """Return the heading and the table of the criteria, by which a method ranks channels."""
    rows = [f"| `{name}` | {each.needs} | {_cell(each.text)} |" for name, each in CRITERIA.items()]
    return "\n".join(["## `criteria`\n", f"{NOTATION}\n", "| criterion | needs | score |", "|---|---|---|", *rows, ""])


def section(name: str, kind: type) -> str:
    """Return the heading, the summary and the table of one settings dataclass, with inherited settings.

    Raises:
        SettingsError: See ``as_markdown``.
    """
    texts = meanings(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    kinds = {key: _type(hints[key]) for key in fields}
    if issubclass(kind, Grid):
        kinds |= {key: "list of: " + ", ".join(f"`{name}`" for name in names) for key, names in CHOICES.items()}
    rows = [(f"`{key}`", kinds[key], _default(field), texts[key]) for key, field in fields.items()]
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    summary = " ".join(_summary(each) for each in _family(kind))
    return "\n".join(
        [f"## `{name}`\n", summary, "\n| key | value | default | meaning |", "|---|---|---|---|", *lines, ""]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def meanings(kind: type) -> dict[str, str]:
    """Return the meaning of each setting of a dataclass, with inherited settings.

    Raises:
        SettingsError: See ``as_markdown``.
    """
    found: dict[str, str] = {}
    for each in reversed(_family(kind)):  # a class replaces the texts of its base
        found |= _entries(each)
    fields = {field.name for field in dataclasses.fields(kind)}
    for wrong in sorted(fields ^ found.keys()):
        what = "the docstring has no line for it" if wrong in fields else "there is no such setting"
        raise SettingsError(f"{kind.__name__}.{wrong}: {what}; mend the docstring of {kind.__name__}.")
    return found


def _family(kind: type) -> list[type]:
    return [each for each in kind.__mro__ if dataclasses.is_dataclass(each)]


def _entries(kind: type) -> dict[str, str]:
    found = ENTRY.findall(inspect.cleandoc(kind.__doc__ or ""))
    return {name: _line(text) for names, text in found for name in names.split(", ")}


def _summary(kind: type) -> str:
    return _line(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0])


def _line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_type, arguments))
    if origin is tuple:
        one = _type(arguments[0])
        return f"list of {one.removeprefix('a ')}s" if one.startswith("a ") else f"list of {one}"
    if dataclasses.is_dataclass(hint):
        (name,) = (name for name, kind in BLOCKS.items() if kind is hint)
        return f"[a block](#{name})"
    return "`null`" if hint is type(None) else KINDS_IN_WORDS[hint]


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is dataclasses.MISSING:
        return "required"
    return f"`{field.default if isinstance(field.default, str) else json.dumps(field.default)}`"
