"""Read a run's configuration. YAML that would change a value is refused."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ehap.errors import SettingsError
from ehap.settings import Run

# The parser of LibYAML takes milliseconds, that in Python a tenth of a second.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
YAML = "tag:yaml.org,2002:"
WORDS = ("true", "True", "TRUE", "false", "False", "FALSE")
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")


def read_run(path: Path) -> Run:
    """Return the run that a configuration describes.

    Raises:
        SettingsError: There is no such file, it is not YAML, or a setting in it is wrong.
    """
    config = _read(path)
    if not isinstance(config, Mapping):
        raise SettingsError(f"{path}: expected names and values as in config/config.yaml, got {config!r}.")
    return Run(config)


def check_files(paths: Sequence[Path]) -> None:
    """Check configuration files before another reader, such as Snakemake's, takes them.

    Raises:
        SettingsError: A file is absent or not YAML, a key stands twice in one block, or YAML would change a
            value. The message names file, line and key.
    """
    for path in paths:
        _read(path)


def _read(path: Path) -> Any:
    try:
        content = path.read_bytes()
    except OSError:
        there = ", ".join(sorted(each.stem for each in path.parent.glob("*.yaml"))) or "none"
        raise SettingsError(f"{path}: expected a configuration there; in {path.parent} there are: {there}.") from None
    if _is_json(content):
        content = content.replace(b"\t", b" ")  # JSON is YAML but for tabs
    loader = LOADER(content)
    try:
        if not loader.check_node():
            return None
        node = loader.get_node()
        if loader.check_node():
            raise SettingsError(f"{path}: expected one YAML document, got several; remove the lines ---.")
        _Check(path, loader).block("", node, ())
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        raise SettingsError(
            f"{path}{line}: expected YAML ({reason}); indent with spaces, see config/demo.yaml."
        ) from None
    finally:
        loader.dispose()


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


class _Check:
    """A comparison of typed values with the values that YAML 1.1 reads."""

    def __init__(self, path: Path, loader: Any) -> None:
        self._path, self._loader = path, loader
        self._seen: set[int] = set()

    def block(self, where: str, node: yaml.Node, inside: tuple[int, ...]) -> None:
        """Check a value and its parts; ``where`` are its keys, ``inside`` the blocks around it."""
        if id(node) in inside:
            raise self._error(node, where, "a block that is part of itself by its alias; write it out")
        if id(node) in self._seen:  # by an alias
            return
        self._seen.add(id(node))
        inside = (*inside, id(node))
        if isinstance(node, yaml.ScalarNode):
            self._scalar(where, node)
        elif node.tag not in (f"{YAML}map", f"{YAML}seq"):
            raise self._error(node, where, f"the tag {_tag(node)} is not for configurations; leave it out")
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.block(f"{where}[{index}]", item, inside)
        else:
            lines: dict[str, int] = {}
            for key, value in node.value:
                name = self._key(where, key)
                if name in lines:
                    raise self._error(
                        key, where, f"the key {name!r} stands twice in one block, first in line {lines[name]}; keep one"
                    )
                lines[name] = key.start_mark.line + 1
                self.block(f"{where}.{name}" if where else name, value, inside)

    def _key(self, where: str, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, where, "a key that is a list or a block; keys are names")
        if node.tag not in (f"{YAML}str", f"{YAML}merge"):
            self._scalar(where, node)
            raise self._error(node, where, f"the key {node.value} is not read as text; write {_quoted(node)}")
        if node.tag == f"{YAML}str":
            self._scalar(where, node)
        return str(node.value)

    def _scalar(self, where: str, node: yaml.ScalarNode) -> None:
        kind, text = node.tag.removeprefix(YAML), node.value
        if kind == "null" or (kind == "bool" and text in WORDS) or (kind == "int" and WHOLE.fullmatch(text)):
            return
        if kind == "str" and (node.style or not ("_" in text and _is_number(text))):
            return
        if kind == "float" and not set(text) & set("_:") and self._finite(node):
            return
        quoted = _quoted(node)
        advice = {
            "bool": f"write true or false, or {quoted} for the text",
            "int": f"write it with the digits 0 to 9 alone, or {quoted} for the text",
            "float": f"write a number with digits and a point, or {quoted} for the text",
            "str": f"write it with the digits 0 to 9 alone, or {quoted} for the text",
            "timestamp": f"write {quoted} for the text",
        }.get(kind)
        if advice is None:
            raise self._error(
                node, where, f"the tag {_tag(node)} is not for configurations; write {quoted} for the text"
            )
        made = self._made(node)
        found = "is no valid value" if made is None else f"would be read as {_short(made)}"
        raise self._error(node, where, f"{text} {found}; {advice}")

    def _finite(self, node: yaml.ScalarNode) -> bool:
        made = self._made(node)
        return isinstance(made, float) and math.isfinite(made)

    def _made(self, node: yaml.ScalarNode) -> Any:
        """Return the value as a reader sees it; None if reading fails."""
        if node.tag == f"{YAML}str":
            return float(node.value)
        try:
            return self._loader.construct_object(node)
        except (ValueError, yaml.YAMLError):
            return None

    def _error(self, node: yaml.Node, where: str, what: str) -> SettingsError:
        place = f"{self._path}, line {node.start_mark.line + 1}"
        return SettingsError(f"{place}: {where}: {what}." if where else f"{place}: {what}.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(node: yaml.ScalarNode) -> str:
    return json.dumps(node.value, ensure_ascii=False)


def _tag(node: yaml.Node) -> str:
    return str(node.tag).replace(YAML, "!!")
