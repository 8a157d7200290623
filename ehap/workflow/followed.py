"""Code that the digest cannot follow is refused: an edit of it would rerun nothing."""

import ast
from functools import cache
from pathlib import Path

from ehap.errors import CodeError
from ehap.workflow.syntax import tree

BY_PATH = ("ehap/workflow/code.py", "ehap/pruning/own_criterion.py")
"""Files that import modules by a computed name; the digest follows only the files themselves."""
BY_NAME = ("import_module", "__import__")


@cache
def check_followed(path: Path, root: Path) -> None:
    """Raise CodeError where a file imports modules of ``ehap`` in a way that the digest cannot follow.

    Args:
        path: A script, or a file of the package.
        root: The folder that holds the package ``ehap``.
    """
    name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    for node in ast.walk(tree(path)):
        found = _refused(node, name)
        if found:
            line = getattr(node, "lineno", 0)
            raise CodeError(
                f"{name}, line {line}: {found} hides an import from the digest, so that an edit there would rerun "
                "nothing; import the module by its full name, as in from ehap.pruning.plan import …"
            )


def _refused(node: ast.AST, name: str) -> str:
    """Return the import that cannot be followed, as it is written; empty for any other code."""
    if isinstance(node, ast.Import):
        through = [each.name for each in node.names if each.name.split(".")[0] == "ehap" and not each.asname]
        if through or any(each.name == "ehap" for each in node.names):  # both give names of the package itself
            return f"import {', '.join(through or ['ehap'])}"
    if isinstance(node, ast.ImportFrom) and (node.level or node.module == "ehap"):
        return f"from {'.' * node.level}{node.module or ''} import"
    if isinstance(node, ast.Call) and name not in BY_PATH:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in BY_NAME and not _is_foreign(node.args[0] if node.args else None):
            return f"{called}()"
    return ""


def _is_foreign(argument: ast.expr | None) -> bool:
    """Say whether a module's name is written out, and is none of ours."""
    if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
        return False
    return argument.value.split(".")[0] not in ("", "ehap")
