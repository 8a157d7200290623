"""A JSON schema of the configuration, from the settings: editors complete and check a YAML file by it."""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from ehap.settings.also_read import AlsoRead
from ehap.settings.documentation import meanings
from ehap.settings.machine import Machine
from ehap.settings.names import CHOICES, DATASETS, OF_METHODS, Grid, selectors
from ehap.settings.stages import SETTINGS
from ehap.settings.sweeps import LISTS

Schema = dict[str, Any]
DIALECT = "http://json-schema.org/draft-07/schema#"  # the one that the YAML servers of editors know
NAME = "^[A-Za-z0-9_-]+$"
BY_TYPE: dict[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
    # YAML 1.1 reads 1e-3 as text, and the settings take it as a number.
    float: {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"}]},
    type(None): {"type": "null"},
}


def as_schema() -> Schema:
    """Return the schema of a whole configuration.

    Ranges and combinations of settings are checked later, when the configuration is read.
    """
    stages = {stage: _object(kind, partial=True) for stage, kind in SETTINGS.items()}
    grid = _object(Grid)
    for field, names in CHOICES.items():
        grid["properties"][field]["items"] = {"enum": list(names)}
    blocks = {
        "name": {"type": "string", "pattern": NAME, "description": "The folder under results/ and logs/."},
        "grid": grid,
        "machine": _object(Machine),
        **_object(AlsoRead)["properties"],
        **{stage: _block(_selectors(stage), _of(stage)) for stage in stages},
        "curvatures": _named(_of("trace")),
        "methods": _named(_method(stages)),
        "schemes": _named(_of("qat")),
    }
    return {
        "$schema": DIALECT,
        "title": "A run of ehap",
        **_closed(blocks),
        "required": ["name", "grid"],
        "definitions": stages,
    }


def _selectors(stage: str) -> Iterable[str]:
    return ("all", *DATASETS) if stage == "prepare" else selectors()


def _method(stages: Mapping[str, Schema]) -> Schema:
    """Return the schema of a method: its criterion, and the settings of stages that it overrides, lists included."""
    overrides = {stage: _swept(stages[stage], LISTS[stage]) if stage in LISTS else _of(stage) for stage in OF_METHODS}
    overrides["prune"]["properties"].pop("criterion")  # it stands in the method itself
    own = {"criterion": stages["prune"]["properties"]["criterion"], "curvature": {"type": "string"}}
    return _closed({**own, **overrides})


def _swept(stage: Schema, keys: Iterable[str]) -> Schema:
    """Return the schema of a stage in which ``keys`` may also be lists: one method for each value."""
    found = {**stage, "properties": dict(stage["properties"])}
    for key in keys:
        one = {name: part for name, part in found["properties"][key].items() if name not in ("description", "default")}
        rest = {name: part for name, part in found["properties"][key].items() if name not in one}
        found["properties"][key] = {**rest, "anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
    return found


def _of(stage: str) -> Schema:
    return {"$ref": f"#/definitions/{stage}"}


def _named(block: Schema) -> Schema:
    return {"type": ["object", "null"], "propertyNames": {"pattern": NAME}, "additionalProperties": block}


def _block(names: Iterable[str], block: Schema) -> Schema:
    return {"type": ["object", "null"], "properties": dict.fromkeys(names, block), "additionalProperties": False}


def _closed(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def _object(kind: type, partial: bool = False) -> Schema:
    """Return the schema of one settings dataclass; ``partial`` allows required settings to come from other blocks."""
    hints, texts = typing.get_type_hints(kind), meanings(kind)
    found: Schema = {}
    required = []
    for field in dataclasses.fields(kind):
        found[field.name] = {**_type(hints[field.name]), "description": texts[field.name]}
        if field.default is not dataclasses.MISSING:
            default = field.default
            found[field.name]["default"] = list(default) if isinstance(default, tuple) else default
        elif not partial:
            required.append(field.name)
    return {**_closed(found), "type": ["object", "null"] if partial else "object", "required": required}


def _type(hint: Any) -> Schema:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_type(each) for each in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _type(arguments[0])}
    if dataclasses.is_dataclass(hint):
        return _object(typing.cast(type, hint))
    return dict(BY_TYPE[hint])
