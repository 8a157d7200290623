"""The files of a benchmark."""

import sys
from pathlib import Path

import pandas
import pytest

from benchmarks.results import write_benchmark


def test_a_page_stands_under_its_command_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["/far/away/workflow_scripts/bench_some.py", "--pruners", "ours, L2", "--match"]
    monkeypatch.setattr(sys, "argv", arguments)
    speed = pandas.DataFrame([{"model": "resnet20", "note": "", "ratio": 1.5}, {"model": "resnet32", "ratio": None}])
    tables = {"speed": speed, "none": pandas.DataFrame(), "cells": pandas.DataFrame({"cells": [1, 2]})}
    page = write_benchmark(tmp_path / "new", tables, "Speed", "Ratios.", ["wrn28_8", "resnet56"])
    assert (tmp_path / "new/speed.md").read_text() == page
    lines = page.splitlines()
    assert lines[:4:2] == ["# Speed", "`python workflow_scripts/bench_some.py --pruners 'ours, L2' --match`"]
    assert lines[4] == "Ratios. **Unfinished: wrn28_8, resnet56 not measured yet.**"
    assert "| resnet32 |        |         |" in page
    assert "nan" not in page.lower().replace("unfinished", "")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["cells.csv", "speed.csv", "speed.md"]
    assert pandas.read_csv(tmp_path / "new/speed.csv")["ratio"].tolist()[0] == 1.5
    assert "Unfinished" not in write_benchmark(tmp_path, tables, "Speed")
