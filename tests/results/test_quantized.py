"""Tables of quantized networks: by scheme, and as engines execute them."""

from pathlib import Path

import pandas
import pytest

from ehap.results import deployment
from ehap.results import precisions as bits
from ehap.results.collect import collect
from ehap.results.figures import svg
from ehap.results.figures.schemes import accuracy_by_bytes
from tests.results.conftest import only_row, record


def test_schemes_stand_beside_each_other_with_bits_size_and_change(values: pandas.DataFrame, tmp_path: Path) -> None:
    paths = []
    for scheme, settings, accuracy, size in (
        ("qat4", {"bits": 4, "activation_bits": None, "epochs": 1}, 80.0, 25_000),
        ("mixed", {"bits": 8, "activation_bits": None, "epochs": 0}, 84.0, 35_000),
        ("float", {"bits": 32, "activation_bits": None, "epochs": 1}, 89.0, 180_000),
    ):
        where = {"seed": 0, "method": "hap", "scheme": scheme}
        trained = {"weight_bits": (5.5, "bits")} if scheme == "mixed" else {}
        paths.append(record(tmp_path, f"q{scheme}", trained, stage="qat", settings=settings, **where))
        tested = {"accuracy": (accuracy, "percent"), "file_size": (size, "bytes")}
        paths.append(record(tmp_path, f"e{scheme}", tested, stage="evaluate", **where))
    added, settings_frame = collect(paths)
    frame = bits.precisions(pandas.concat([values, added]), settings_frame)
    before = values[(values["method"] == "hap") & (values["seed"] == 0) & (values["quantity"] == "accuracy")]
    start = before[(before["scheme"] == "") & (before["stage"] == "evaluate")]["value"].item()
    row = only_row(frame, scheme="qat4")
    assert (row["weight_bits"], row["activation_bits"], row["epochs"], row["file_size"]) == (4, 4, 1, 25_000)
    assert row["change"] == pytest.approx(80 - start)
    row = only_row(frame, scheme="mixed")
    assert (row["weight_bits"], row["activation_bits"], row["epochs"]) == (5.5, 8, 0)
    text = " ".join(bits.precisions_markdown(frame).split())
    assert "| hap | mixed | 5.5 | 8 | 0 | 84.00 % |" in text
    picture = svg(accuracy_by_bytes(frame)).decode()
    assert ">mixed<" in picture
    assert ">float<" not in picture  # its file holds no integers


def test_networks_executed_with_other_instructions_are_no_mean(tmp_path: Path) -> None:
    found = dict.fromkeys(("packed_size", "onnx_size", "parameters"), (100.0, "bytes"))
    paths = [
        record(
            *(tmp_path, f"deploy{seed}", found | {"deployed_accuracy": (90.0 + seed, "percent")}),
            **{"stage": "deploy", "method": "hap", "scheme": "qat8", "seed": seed, "instructions": sets},
        )
        for seed, sets in enumerate(("avx2", "avx2", "avx2, avx512_vnni"))
    ]
    frame = deployment.deployed(collect(paths)[0])
    assert frame[["instructions", "deployed_accuracy", "n"]].to_numpy().tolist() == [
        ["avx2", 90.5, 2],
        ["avx2, avx512_vnni", 92.0, 1],
    ]
    assert "| avx2, avx512_vnni |" in " ".join(deployment.deployed_markdown(frame).split())
    assert "instruction sets" not in deployment.deployed_markdown(frame[:1])
