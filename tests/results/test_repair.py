from pathlib import Path

import pandas
import pytest

from ehap.results import repair as repairs
from ehap.results.collect import collect
from ehap.results.figures import svg
from ehap.results.figures.repair import repair_by_images, repair_by_size
from tests.results.conftest import only_row, record


def test_repaired_networks_have_a_table_and_pictures_of_their_own(values: pandas.DataFrame, tmp_path: Path) -> None:
    def repair(name: str, seed: int, images: int, steps: dict[str, float], criterion: str) -> list[Path]:
        where = {"seed": seed, "method": name}
        costs = {"seconds": (30.0 + seed, "s"), "peak_memory": (2e8, "bytes"), "images": (images, "images")}
        accuracies = {step: (value + seed, "percent") for step, value in steps.items()}
        sizes = {f"{which}parameters": (size, "parameters") for which, size in (("", 600), ("dense_", 1000))}
        sizes |= {f"{which}flops": (size, "flop") for which, size in (("", 500), ("dense_", 1000))}
        settings = {"criterion": criterion, "balance": "lamp", "residual": "union"}
        steps_of = {"distill_steps": 900 if "long" in name else 300, "images": images}
        steps_of["draw"] = int(name[-1]) if "-draw" in name else 0
        return [
            record(
                tmp_path, f"r{name}{seed}", {**accuracies, **costs}, stage="reconstruct", settings=steps_of, **where
            ),
            record(
                tmp_path,
                f"a{name}{seed}",
                {"pruned_accuracy": (12.0, "percent")},
                stage="evaluate_unrecovered",
                **where,
            ),
            record(tmp_path, f"p{name}{seed}", sizes, stage="prune", settings=settings, **where),
        ]

    paths = []
    for seed in (0, 1):
        both = {"reconstructed_accuracy": 85.0, "distilled_accuracy": 91.0}
        paths += repair(f"l2-60-draw{seed}", 0, 2000, {step: value + seed for step, value in both.items()}, "magnitude")
        paths += repair("l2-60-alone", seed, 2000, {"distilled_accuracy": 89.0}, "magnitude")
        paths += repair("l2-60-long", seed, 2000, {**both, "distilled_accuracy": 99.0}, "magnitude")
        paths += repair("gate-60", seed, 64, {"reconstructed_accuracy": 80.0}, "gate")
    added, settings = collect(paths)
    frame = repairs.repaired(pandas.concat([values, added]), settings)
    assert set(frame["method"]) == {"l2-60", "l2-60-alone", "l2-60-long", "gate-60"}  # not those that were not repaired
    both, alone, fitted = (only_row(frame, method=name) for name in ("l2-60", "l2-60-alone", "gate-60"))
    assert (both["ranking"], both["n"], both["images"]) == ("magnitude + lamp", 2, 2000)
    assert (both["distilled_accuracy"], both["distilled_accuracy_std"]) == (91.5, pytest.approx(0.5**0.5))
    assert both["change"] == -1.5
    assert (alone["change"], alone["change_std"]) == (-4, 0)  # against the dense network of the same seed
    assert (alone["distilled_only_accuracy"], alone["change"]) == (89.5, -4)
    assert pandas.isna(alone["distilled_accuracy"])
    assert (fitted["reconstructed_accuracy"], fitted["change"], fitted["parameters_kept"]) == (80.5, -13, 60)
    text = " ".join(repairs.repaired_markdown(frame).split())
    assert list(frame["steps"]) == [900 if "long" in method else 300 for method in frame["method"]]
    assert "| l2-60 | 2000 | 300 | 12.00 ± 0.00 % |" in text
    assert "| -1.50 ± 0.71 points | 60.00" in text
    picture = svg(repair_by_size(frame)).decode()
    assert all(f">{label}<" in picture for label in ("magnitude + lamp", "reconstructed, distilled", "distilled only"))
    assert ">gate + lamp<" not in picture  # 64 images are not the usual number
    alone = frame[frame["method"] == "gate-60"].assign(images=2000)
    assert ">gate + lamp<" in svg(repair_by_size(pandas.concat([frame, alone]))).decode()
    smaller = frame[frame["method"] == "l2-60"].assign(parameters_kept=25.0)
    picture = svg(repair_by_size(pandas.concat([frame, alone, smaller]))).decode()
    assert ">magnitude + lamp<" in picture
    assert ">gate + lamp<" not in picture  # one size, where others have two
    assert ">gate + lamp, 60 %<" in svg(repair_by_images(frame)).decode()  # nothing to compare: all panels
    unplanned = alone.assign(
        parameters_kept=float("nan"), ranking=""
    )  # no record of the plan beside that of the repair
    assert svg(repair_by_size(pandas.concat([frame, unplanned]))) == svg(repair_by_size(frame))
    assert b"</svg>" in svg(repair_by_size(unplanned))
    assert b"</svg>" in svg(repair_by_images(unplanned))
    fewer = frame[frame["method"] == "l2-60"].assign(images=256)
    picture = svg(repair_by_images(pandas.concat([frame, fewer]))).decode()
    assert ">magnitude + lamp, 60 %<" in picture
    assert ">gate + lamp, 60 %<" not in picture  # one number of images


def test_a_repair_is_compared_with_the_training_where_the_dense_network_was_not_evaluated(
    values: pandas.DataFrame, tmp_path: Path
) -> None:
    paths = []
    for dataset in ("cifar10", "cifar100"):
        where = {"dataset": dataset, "seed": 0}
        sizes = {f"{which}{what}": (6.0, what) for which in ("", "dense_") for what in ("parameters", "flops")}
        repaired = {"distilled_accuracy": (90.0, "percent"), "images": (2000, "images")}
        how = {"criterion": "magnitude", "balance": "lamp", "residual": "union"}
        paths += [
            record(tmp_path, f"t{dataset}", {"accuracy": (92.0, "percent")}, stage="pretrain", **where),
            record(
                tmp_path,
                f"r{dataset}",
                repaired,
                stage="reconstruct",
                settings={"distill_steps": 1},
                method="l2",
                **where,
            ),
            record(tmp_path, f"p{dataset}", sizes, stage="prune", settings=how, method="l2", **where),
        ]
    added, settings = collect(paths)
    frame = repairs.repaired(pandas.concat([values, added]), settings)
    assert [only_row(frame, dataset=name)["change"] for name in ("cifar10", "cifar100")] == [
        -3,
        -2,
    ]  # 93 when evaluated


def test_of_several_numbers_of_images_or_steps_the_usual_one_is_shown() -> None:
    frame = pandas.DataFrame({"images": [64, 64, 2000, 2000, 16], "steps": [0, 0, 0, 900, 300]})
    assert list(repairs.usual_images(frame)["images"]) == [2000, 2000]  # of equally frequent ones the largest
    assert list(repairs.usual_steps(frame)["steps"]) == [0, 0, 0, 900]
    assert list(repairs.usual_steps(frame[:1])["steps"]) == [0]  # nothing was distilled


def test_a_repair_is_told_by_its_own_records_whatever_the_method_is_elsewhere(
    values: pandas.DataFrame, tmp_path: Path
) -> None:
    sizes = {f"{which}{what}": (6.0, what) for which in ("", "dense_") for what in ("parameters", "flops")}
    paths = []
    for dataset, steps, normalise in (("cifar10", 300, "lamp"), ("cifar100", 900, "none")):
        where = {"dataset": dataset, "seed": 0, "method": "l2"}
        repaired = {"distilled_accuracy": (90.0, "percent"), "images": (2000, "images")}
        paths += [
            record(tmp_path, f"r{steps}", repaired, stage="reconstruct", settings={"distill_steps": steps}, **where),
            record(
                *(tmp_path, f"p{steps}", sizes),
                stage="prune",
                settings={"criterion": "magnitude", "normalise": normalise, "residual": "union"},
                **where | {"device": "CPU"},  # plans are made there
            ),
        ]
    added, settings = collect(paths)
    frame = repairs.repaired(pandas.concat([values, added]), settings)
    rows = frame[["dataset", "steps", "ranking"]].to_dict("split")["data"]
    assert rows == [["cifar10", 300, "magnitude + lamp"], ["cifar100", 900, "magnitude"]]
