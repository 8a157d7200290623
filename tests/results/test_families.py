"""Sweep values are read from the settings of records, not from names."""

import pandas

from ehap.results.families import families

SETTINGS = pandas.DataFrame(
    [
        ("prune", "gate-30", "params", 0.3),
        ("prune", "gate-12_5", "params", 0.125),
        ("prune", "l2-25-draw1", "params", 0.25),
        ("reconstruct", "l2-25-draw1", "draw", 1),
        ("reconstruct", "l2-25-draw1", "images", 2000),
        ("reconstruct", "l2-few-images64", "images", 64),
        ("prune", "hap", "prune_ratio", None),
        ("prune", "block-16", "params", 0.5),
        ("reconstruct", "my-draw1", "draw", 0),
        ("finetune", "l2-draw2", "epochs", 2),
    ],
    columns=["stage", "method", "setting", "value"],
)


def test_methods_of_a_sweep_are_one_family() -> None:
    known = families(SETTINGS)
    found = {method: known.family(method) for method in SETTINGS["method"].unique()}
    assert found == {
        **{"gate-30": "gate", "gate-12_5": "gate", "l2-25-draw1": "l2", "l2-few-images64": "l2-few", "hap": "hap"},
        **{"block-16": "block-16", "my-draw1": "my-draw1", "l2-draw2": "l2-draw2"},  # no values of theirs
    }


def test_draws_of_images_are_pooled() -> None:
    known = families(SETTINGS)
    assert [known.pooled(name) for name in ("l2-25-draw1", "gate-30", "my-draw1", "other")] == [
        *("l2-25", "gate-30", "my-draw1", "other")
    ]
