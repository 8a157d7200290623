"""Pictures of benchmarks: what they show, and that they are the same bytes each time."""

import pandas

from benchmarks.figures import latency_bars, svg, traces_by_cost
from benchmarks.trace_columns import shown


def test_every_contender_has_a_bar_with_its_time_in_the_panel_of_its_batch() -> None:
    rows = [
        {"model": "resnet20", "batch": batch, "network": "dense", "precision": precision, "engine": "onnxruntime"}
        | {"latency_ms": 1000.0 * batch + bits}
        for batch in (1, 64)
        for precision, bits in (("FP32", 32), ("INT8", 8))
    ]
    picture = svg(latency_bars(pandas.DataFrame(rows)))
    assert picture == svg(latency_bars(pandas.DataFrame(rows)))
    text = picture.decode()
    for said in ("resnet20, batch 1", "resnet20, batch 64", "dense, INT8, onnxruntime", "1,008.0 ms", "64,032.0 ms"):
        assert said in text
    assert text.index("1,032.0 ms") < text.index("1,008.0 ms")  # in the order of the rows


def test_traces_stand_at_the_cost_of_the_samples_that_were_run() -> None:
    table = pandas.DataFrame(
        [
            {"contender": "ours fp32", "products_worth": 300.0, "samples_run": 5, "overlap": 0.4},
            {"contender": "ours fp32, 30 samples", "products_worth": 300.0, "samples_run": 30, "overlap": 0.6},
            {"contender": "exact fp32", "products_worth": 4.5, "samples_run": 0, "overlap": 1.0},
            {"contender": "pyhessian", "products_worth": 400.0, "samples_run": 5, "overlap": None},
        ]
    ).assign(model="resnet20", classes=10)
    points = shown(table)
    assert points["cost"].tolist() == [5.0, 30.0, 4.5]
    assert points["contender"].tolist() == ["ours fp32, 5 samples", "ours fp32, 30 samples", "exact fp32"]
    text = svg(traces_by_cost(points)).decode()
    assert all(name in text for name in (*points["contender"], "resnet20, 10 classes"))
