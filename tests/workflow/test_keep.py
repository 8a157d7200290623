import json
import subprocess
from pathlib import Path

import pandas

from tests.results.conftest import evaluated
from tests.workflow.conftest import ROOT
from tests.workflow.warm_python import warm_python

CELL = "cifar10/resnet20/seed0"


def _write(run: Path, device: str, stage: str, method: str, values: dict[str, tuple[float, str]]) -> None:
    folder = run / stage / CELL / method
    folder.mkdir(parents=True)
    content = {
        **{"stage": stage, "dataset": "cifar10", "model": "resnet20", "seed": 0, "method": method, "device": device},
        "values": {name: {"value": value, "unit": unit} for name, (value, unit) in values.items()},
        "settings": {"criterion": "random", "balance": "none", "residual": "union", "params": 0.1}
        if stage == "prune"
        else {},
    }
    (folder / "record.json").write_text(json.dumps(content))


def _kept(results: Path, folder: Path) -> str:
    command = [warm_python(), "workflow_scripts/keep.py", str(results), "--folder", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_records_of_a_gpu_have_the_plans_that_a_processor_made_and_older_ones_are_told(tmp_path: Path) -> None:
    run = tmp_path / "results/two"
    for method, accuracy in (("one", 80.0), ("two", 82.0)):
        _write(run, "CPU", "prune", method, {"parameters": (100, "parameters")})
        _write(run, "A GPU", "evaluate", method, evaluated(accuracy, 100))
    said = _kept(run, tmp_path / "kept")
    assert "any more" not in said
    gpu = tmp_path / "kept/a-gpu/two"
    assert sorted(path.parts[-6] for path in gpu.rglob("record.json")) == ["evaluate", "evaluate", "prune", "prune"]
    pairs = pandas.read_csv(gpu / "tables/paired.csv")
    assert pairs[["budget", "method", "difference"]].to_numpy().tolist() == [
        ["10 % of the parameters", "one", -2.0],
        ["10 % of the parameters", "two", 2.0],
    ]
    (run / "evaluate" / CELL / "two").rename(run / "evaluate" / CELL / "three")
    (old,) = [line for line in _kept(run, tmp_path / "kept").splitlines() if "any more" in line]
    assert old.strip().startswith("beside 1 kept before that the run does not have (any more), the first ")
    assert old.endswith(str(Path("a-gpu/two/evaluate") / CELL / "two"))
