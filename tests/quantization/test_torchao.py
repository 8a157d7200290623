"""torchao is imported in one place, which silences its warning."""

import ast
import subprocess
import sys
from pathlib import Path

from ehap.workflow.syntax import imports

ROOT = Path(__file__).parents[2]


def test_one_module_imports_torchao() -> None:
    files = [path for folder in ("ehap", "workflow_scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    found = [
        str(path.relative_to(ROOT))
        for path in files
        if any(module.split(".")[0] == "torchao" for _, module, _ in imports(path))
    ]
    assert found == ["ehap/quantization/pt2e.py"]


def test_every_name_of_that_module_is_used() -> None:
    (names,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "ehap/quantization/pt2e.py").read_text()).body
        if isinstance(node, ast.Assign)
    )
    used = {
        name
        for path in (ROOT / "ehap").rglob("*.py")
        for _, module, name in imports(path)
        if module == "ehap.quantization.pt2e"
    }
    assert used == set(names)


def test_an_import_says_nothing() -> None:
    modules = ["ehap.engines.conversion", "ehap.engines.onnxruntime", "ehap.quantization.observers"]
    code = (
        f"import sys; assert 'torchao' not in sys.modules; import {', '.join(modules)}; assert 'torchao' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
