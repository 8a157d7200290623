"""The files of a benchmark."""

from pathlib import Path

import pandas

from benchmarks.files import write_benchmark


def test_a_page_stands_under_its_command_and_says_what_is_missing(tmp_path: Path) -> None:
    speed = pandas.DataFrame([{"model": "resnet20", "note": "", "ratio": 1.5}, {"model": "resnet32", "ratio": None}])
    tables = {"speed": speed, "none": pandas.DataFrame(), "cells": pandas.DataFrame({"cells": [1, 2]})}
    command = "python -m benchmarks some --pruners 'ours, L2'"
    page = write_benchmark(tmp_path / "new", tables, "Speed", command, "Ratios.", ["wrn28_8", "resnet56"])
    assert (tmp_path / "new/speed.md").read_text() == page
    lines = page.splitlines()
    assert lines[:4:2] == ["# Speed", f"`{command}`"]
    assert lines[4] == "Ratios. **Unfinished: wrn28_8, resnet56 not measured yet.**"
    assert "| resnet32 |        |         |" in page
    assert "nan" not in page.lower().replace("unfinished", "")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["cells.csv", "speed.csv", "speed.md"]
    assert pandas.read_csv(tmp_path / "new/speed.csv")["ratio"].tolist()[0] == 1.5
    assert "Unfinished" not in write_benchmark(tmp_path, tables, "Speed", command)
