"""One stage, one script, one name."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _parsed(folder: str) -> dict[str, ast.Module]:
    return {path.stem: ast.parse(path.read_text()) for path in (ROOT / folder).glob("*.py")}


def test_each_stage_has_one_run_and_a_script_of_its_name_that_calls_it() -> None:
    stages = _parsed("ehap/stages")
    del stages["__init__"]
    scripts = {name: tree for name, tree in _parsed("workflow_scripts").items() if "execute" in _called(tree)}
    assert stages.keys() == scripts.keys()
    for name, tree in stages.items():
        (run,) = [each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "run"]
        assert [each.arg for each in run.args.args] == ["job"]
        assert f"ehap.stages.{name}" in [
            each.module for each in ast.walk(scripts[name]) if isinstance(each, ast.ImportFrom)
        ]


def _called(tree: ast.Module) -> set[str]:
    calls = [each.func for each in ast.walk(tree) if isinstance(each, ast.Call)]
    return {each.id for each in calls if isinstance(each, ast.Name)}
