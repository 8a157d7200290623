import json
from pathlib import Path

import pandas
import pytest

from ehap.results.collect import collect


def record(folder: Path, name: str, values: dict[str, tuple[float, str]], **where: object) -> Path:
    path = folder / f"{name}.json"
    content = {
        "dataset": "cifar10",
        "model": "resnet32",
        "device": "GPU",
        **where,
        "values": {key: {"value": value, "unit": unit} for key, (value, unit) in values.items()},
        "settings": where.get("settings", {}),
    }
    path.write_text(json.dumps(content))
    return path


def only_row(frame: pandas.DataFrame, **where: str) -> pandas.Series:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1, frame
    return frame.iloc[0]


def evaluated(accuracy: float, parameters: int) -> dict[str, tuple[float, str]]:
    return {
        "accuracy": (accuracy, "percent"),
        "best_accuracy": (accuracy + 0.5, "percent"),
        "parameters": (parameters, "parameters"),
        "flops": (parameters * 10, "flop"),
        "file_size": (parameters * 4, "bytes"),
    }


@pytest.fixture
def values(tmp_path: Path) -> pandas.DataFrame:
    paths = []
    for seed in (0, 1):
        for method, scheme, accuracy, size in (
            ("dense", "", 93.0 + seed, 1000),
            ("hap", "", 88.0 + seed, 100),
            ("hap", "qat8", 88.2 + seed, 100),
            ("random", "", 80.0 + seed, 90),
        ):
            where = {"stage": "evaluate", "seed": seed, "method": method} | ({"scheme": scheme} if scheme else {})
            paths.append(record(tmp_path, f"{method}{scheme}{seed}", evaluated(accuracy, size), **where))
    trace = {"trace_time": (12.0, "s"), "peak_memory": (2e9, "bytes"), "samples": (300, "samples")}
    where = {"stage": "trace", "seed": 0, "curvature": "hutchinson-fp32", "dataset": "cifar100"}
    paths.append(record(tmp_path, "trace", trace, **where))
    return collect(paths)[0]
