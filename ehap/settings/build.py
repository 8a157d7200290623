"""Plain mappings, as YAML gives them, to checked settings."""

import contextlib
import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ehap.errors import SettingsError

Kind = TypeVar("Kind")


def build(
    kind: type[Kind], mapping: Mapping[str, Any], where: str = "", origins: Mapping[str, str] | None = None
) -> Kind:
    """Turn a plain mapping into the frozen settings dataclass ``kind``.

    Args:
        kind: A dataclass whose fields are int, float, bool, str, Literal, tuple[..., ...] or None unions.
        mapping: Field name to value. Numbers, true and false may come as text and are converted: YAML reads
            ``1e-3`` as text, and Snakemake all values in ``--config a={b: 1}``.
        where: Path of the mapping inside the configuration, for messages, e.g. ``pretrain.resnet32``.
        origins: Key to the path of the block it came from, where the mapping was merged from several.

    Raises:
        SettingsError: A key is unknown or missing, a type is wrong, or a value is out of range.
    """
    where = where or kind.__name__.lower()
    check_keys(kind, mapping, where)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    missing = [name for name, field in fields.items() if name not in mapping and not _has_default(field)]
    if missing:
        raise SettingsError(f"{where}: missing {', '.join(missing)}; add {'it' if len(missing) == 1 else 'them'}.")
    hints = typing.get_type_hints(kind)
    origins = origins or {}
    values = {key: _checked(f"{origins.get(key, where)}.{key}", item, hints[key]) for key, item in mapping.items()}
    try:
        return kind(**values)
    except SettingsError as error:
        field = str(error).split(maxsplit=1)[0].rstrip(":")  # range checks begin with the name of the field
        raise SettingsError(f"{origins.get(field, where)}: {error}") from None


def check_keys(kind: type, mapping: Any, where: str) -> None:
    """Raise SettingsError unless ``mapping`` is a mapping whose keys are fields of the dataclass ``kind``."""
    if not isinstance(mapping, Mapping):
        raise SettingsError(f"{where}: expected a mapping of settings, got {mapping!r}.")
    names = [field.name for field in dataclasses.fields(kind)]
    for key in mapping:
        if key not in names:
            raise unknown(f"{where}.{key}", str(key), names, "setting")


def mapping_at(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the block ``key`` of a configuration, empty where it has none; raise SettingsError if it is no mapping."""
    block = config.get(key)
    block = {} if block is None else block
    if not isinstance(block, Mapping):
        raise SettingsError(f"{key}: expected a mapping, got {block!r}.")
    return block


def unknown(where: str, name: str, allowed: Iterable[object], noun: str) -> SettingsError:
    """Return the error for a name outside ``allowed``, with the nearest allowed name as advice."""
    names = [str(item) for item in allowed]
    near = difflib.get_close_matches(name, names, n=1)
    advice = f" Did you mean {near[0]!r}?" if near else ""
    return SettingsError(f"{where}: unknown {noun} {name!r}; expected one of {', '.join(names) or 'none'}.{advice}")


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _checked(where: str, value: Any, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if value not in arguments:
            raise unknown(where, str(value), arguments, "value")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _one_of(where, value, [item for item in arguments if item is not type(None)])
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]  # is_dataclass does not tell instances from types
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"{where}: expected a list, got {value!r}.")
        return tuple(_checked(f"{where}[{index}]", item, arguments[0]) for index, item in enumerate(value))
    return _scalar(where, value, hint)


def _one_of(where: str, value: Any, hints: list[Any]) -> Any:
    """Return ``value`` as the first of several types that takes it."""
    messages = []
    for hint in hints:
        try:
            return _checked(where, value, hint)
        except SettingsError as error:
            if len(hints) == 1:
                raise
            messages.append(str(error).removeprefix(f"{where}: ").rstrip("."))
    raise SettingsError(f"{where}: {'; or '.join(messages)}.")


def _scalar(where: str, value: Any, kind: type) -> Any:
    if isinstance(value, str) and kind in _FROM_TEXT:  # YAML reads 1e-3 as text, and --config gives nested values so
        with contextlib.suppress(ValueError, KeyError):
            value = _FROM_TEXT[kind](value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise SettingsError(f"{where}: expected {KINDS_IN_WORDS.get(kind, kind.__name__)}, got {value!r}.")
    return value


_FROM_TEXT: dict[type, Callable[[str], Any]] = {
    int: int,
    float: float,
    bool: {"true": True, "false": False}.__getitem__,
}
KINDS_IN_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
