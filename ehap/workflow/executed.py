"""The part of ``ehap.settings`` that the code behind a rule executes, definition by definition.

The values of settings stand in a rule's params, checked. So fields, their defaults and ``__post_init__`` do not count.
Functions that only these use do not count either. Methods, properties, constants and other functions do.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from ehap.workflow.syntax import WHOLE, file_of, imported, imports, is_settings, origin, plain, tree

Symbol = tuple[str, str]
"""A module and a name in it."""
Scope = Mapping[str, Symbol]
"""Local name to its symbol."""
CHECKS = "__post_init__"


@dataclass(frozen=True)
class Mentions:
    """Names in some code; annotations are not executed and do not count.

    names: Settings, constants and functions. attributes: Names behind a dot, or in getattr. calls: Called symbols, with
    the names of the arguments.
    """

    names: frozenset[Symbol] = frozenset()
    attributes: frozenset[str] = frozenset()
    calls: frozenset[tuple[Symbol, frozenset[str | None]]] = frozenset()

    def __or__(self, other: "Mentions") -> "Mentions":
        """Return the union."""
        return Mentions(self.names | other.names, self.attributes | other.attributes, self.calls | other.calls)


@dataclass(frozen=True)
class Part:
    """A statement, or a member of a class.

    name: Name of the member. counts: ``always``; ``named``: if code names it; ``default``: if code names it, and calls
    the class without it.
    """

    name: str
    counts: Literal["always", "named", "default"]
    code: bytes
    mentions: Mentions


@dataclass(frozen=True)
class Definition:
    """Definition of a name. types: Types of the fields of a class. bases: Bases of a class."""

    parts: tuple[Part, ...]
    types: frozenset[Symbol]
    bases: frozenset[Symbol]

    def executed(self, symbol: Symbol, mentioned: Mentions) -> tuple[bytes, Mentions]:
        """Return the code that counts, and its mentions."""
        given = [names for called, names in mentioned.calls if called == symbol]
        mentions = Mentions(self.types, calls=frozenset((base, names) for base in self.bases for names in given))
        code = b""
        for part in self.parts:
            called = part.counts != "default" or any(part.name not in names for names in given)
            if part.counts == "always" or (part.name in mentioned.attributes and called):
                code += part.code
                mentions |= part.mentions
        return code, mentions


def executed_settings(files: Iterable[Path], root: Path) -> bytes:
    """Return the definitions in ``ehap.settings`` that some files need, in a fixed order.

    Args:
        files: Scripts and modules outside ``ehap.settings``.
        root: The folder that holds the package ``ehap``.
    """
    outside = _union(_of_file(path, root) for path in files)
    mentioned = outside
    while True:  # a name behind a dot may be a private method of another definition
        found = _definitions(mentioned, root)
        now = _union([outside, *(mentions for _, mentions in found.values())])
        if now == mentioned:
            return b"".join(f"{symbol}".encode() + code for symbol, (code, _) in sorted(found.items()))
        mentioned = now


def _definitions(mentioned: Mentions, root: Path) -> dict[Symbol, tuple[bytes, Mentions]]:
    """Return the code and the mentions of every definition that is mentioned, directly or by another one."""
    found: dict[Symbol, tuple[bytes, Mentions]] = {}
    waiting = list(mentioned.names)
    while waiting:
        symbol = waiting.pop()
        file = file_of(symbol[0], root)
        if symbol not in found and file is not None:
            found[symbol] = _definition(file, symbol, root).executed(symbol, mentioned)
            waiting += found[symbol][1].names
    return found


def _union(all_of_them: Iterable[Mentions]) -> Mentions:
    every = list(all_of_them)
    return Mentions(
        frozenset().union(*(each.names for each in every)),
        frozenset().union(*(each.attributes for each in every)),
        frozenset().union(*(each.calls for each in every)),
    )


@cache
def _of_file(path: Path, root: Path) -> Mentions:
    """Return the settings that a file outside ``ehap.settings`` mentions; unused imports count, too."""
    scope = {local: origin(module, name, root) for local, module, name in imports(path) if is_settings(module)}
    mentions = _mentions(tree(path), scope)
    if not set(scope.values()) - mentions.names:
        return mentions
    anywhere = {each.id for each in ast.walk(tree(path)) if isinstance(each, ast.Name)}
    return mentions | Mentions(frozenset(symbol for local, symbol in scope.items() if local not in anywhere))


@cache
def _scope(file: Path, module: str, root: Path) -> Scope:
    """Return the symbol of each name in a module of settings: its own definitions, and its imports."""
    own = {name: (module, name) for statement in tree(file).body for name in _defined(statement)}
    return own | {
        local: origin(source, name, root) if is_settings(source) else (module, local)
        for local, source, name in imports(file)
    }


@cache
def _definition(file: Path, symbol: Symbol, root: Path) -> Definition:
    """Return the definition of a name of a module of settings; for the module itself the whole content."""
    module, name = symbol
    scope = _scope(file, module, root)
    parts: list[Part] = []
    types, bases = set(scope.values() if name == WHOLE else ()), set()
    for statement in tree(file).body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            parts += _members(statement, scope)
            fields = [item.annotation for item in statement.body if isinstance(item, ast.AnnAssign)]
            types |= {each for each in _names(fields, scope) if _is_class(each, root)}
            bases |= set(_names(statement.bases, scope))
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            source = statement.module if isinstance(statement, ast.ImportFrom) else None
            aliases = [each for each in statement.names if name in (WHOLE, (each.asname or each.name).split(".")[0])]
            parts += [_part("", "always", ast.ImportFrom(source, [alias], 0), scope) for alias in aliases]
        elif name in _defined(statement) or (name == WHOLE and not isinstance(statement, ast.ClassDef)):
            parts.append(_part("", "always", statement, scope))
    return Definition(tuple(parts), frozenset(types), frozenset(bases))


def _members(statement: ast.ClassDef, scope: Scope) -> Iterator[Part]:
    """Yield the head of a class, and its members but for fields without a default and the check of its values."""
    head = ast.ClassDef(statement.name, statement.bases, statement.keywords, [], statement.decorator_list)
    yield _part("", "always", head, scope)
    for item in statement.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            constant = "ClassVar" in ast.dump(item.annotation)
            if item.value is not None:
                value = ast.Assign([item.target], item.value)
                yield _part(item.target.id, "named" if constant else "default", value, scope)
        elif getattr(item, "name", "") != CHECKS:
            name = getattr(item, "name", "")
            private = name.startswith("_") and not name.endswith("__")
            yield _part(name, "named" if private else "always", item, scope)


def _part(name: str, counts: Literal["always", "named", "default"], node: ast.AST, scope: Scope) -> Part:
    return Part(name, counts, repr(plain([node])).encode(), _mentions(node, scope))


def _is_class(symbol: Symbol, root: Path) -> bool:
    file = file_of(symbol[0], root)
    return file is not None and any(
        isinstance(each, ast.ClassDef) and each.name == symbol[1] for each in tree(file).body
    )


def _names(nodes: Iterable[ast.AST], scope: Scope) -> list[Symbol]:
    found = [each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)]
    return [scope[name] for name in found if name in scope]


def _defined(statement: ast.stmt) -> frozenset[str]:
    """Return the names that a statement defines or changes."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return frozenset([statement.name])
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return frozenset(local for local, _, _ in imported(statement))
    targets: list[ast.AST] = [statement]  # an if, a loop, or a call such as NAMES.append(x)
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = [*statement.targets] if isinstance(statement, ast.Assign) else [statement.target]
    nodes = [each for target in targets for each in ast.walk(target)]
    return frozenset(each.id if isinstance(each, ast.Name) else getattr(each, "name", "") for each in nodes)


def _mentions(node: ast.AST, scope: Scope) -> Mentions:
    names, attributes, calls = set(), set(), set()
    for each in _executed(node):
        if isinstance(each, ast.Name) and each.id in scope:
            names.add(scope[each.id])
        elif isinstance(each, ast.Attribute):
            attributes.add(each.attr)
        elif isinstance(each, ast.Call) and isinstance(each.func, ast.Name):
            if each.func.id in scope:
                calls.add((scope[each.func.id], frozenset(keyword.arg for keyword in each.keywords)))
            if each.func.id == "getattr":
                attributes |= {str(item.value) for item in each.args if isinstance(item, ast.Constant)}
    return Mentions(frozenset(names), frozenset(attributes), frozenset(calls))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree without annotations, and without the types that isinstance compares."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id == "isinstance":
            waiting += each.args[:1]
            continue
        for field in each._fields:
            value = getattr(each, field, None)
            if isinstance(value, ast.AST) and field not in ("annotation", "returns"):
                waiting.append(value)
            elif isinstance(value, list):
                waiting += [item for item in value if isinstance(item, ast.AST)]
