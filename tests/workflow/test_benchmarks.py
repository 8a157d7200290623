"""Benchmarks on the small run: the script that make calls, from its files to the table."""

import csv
import sys
from pathlib import Path

from tests.workflow.conftest import ROOT, run_in
from tests.workflow.test_run import CELL


def test_pruners_of_other_libraries_stand_beside_ours(finished: Path, tmp_path: Path) -> None:
    results = finished / "results/small"
    network = ["--checkpoint", f"{results}/pretrain/{CELL}/model.safetensors"]
    images = ["--data", f"{results}/prepare/digits/data.safetensors", "--images", "16"]
    names = ["torch-pruning, group L2, global", "model-compression-toolkit", "ours, L2 + lamp"]
    what = ["--params", "0.5", "--epochs", "0", "--match", "--pruners", *names]
    script = [sys.executable, "-W", "error", str(ROOT / "workflow_scripts/bench_prune.py")]
    said = run_in(
        ROOT, *script, *network, *images, *what, "--device", "cpu", "--threads", "1", "--folder", str(tmp_path)
    )
    (table,) = tmp_path.rglob("bench_prune.csv")
    with table.open() as file:
        rows = {row["pruner"]: row for row in csv.DictReader(file)}
    matched = {name: row for name, row in rows.items() if name.endswith(f", as {names[0]}")}
    assert set(rows) == {*names, *matched}
    assert len(matched) == 5
    for row in matched.values():
        shares = [float(row[size]) / float(rows[names[0]][size]) for size in ("parameters", "flops")]
        assert 0.9 < max(shares) <= 1  # one of the two budgets stops it
    assert "make bench-prune installs it" in rows["model-compression-toolkit"]["note"]
    for name in (names[0], names[2]):
        assert 40 < float(rows[name]["parameters_kept_percent"]) <= 50, name
        assert 0 <= float(rows[name]["recalibrated"]) <= 100
    assert table.with_suffix(".md").read_text() in said
