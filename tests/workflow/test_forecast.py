import json
from pathlib import Path
from typing import Any

import pytest

from ehap.data import DATASETS
from ehap.evaluation import flops
from ehap.models import build_model
from ehap.models.registry import MODELS
from ehap.settings import Run, names
from ehap.settings.names import NETWORKS, Model
from ehap.workflow.forecast import Rate, Task, estimate, not_done_elsewhere, rates, rows_to_do, summary, task_of

CONFIG: dict[str, Any] = {
    "name": "run",
    "grid": {
        "datasets": ["cifar10", "cifar100"],
        "models": ["resnet32", "wrn28_8"],
        "seeds": [0, 1],
        "methods": ["hap", "random"],
        "schemes": ["qat8"],
    },
    "pretrain": {"all": {"epochs": 300, "learning_rate": 0.1}},
    "trace": {"all": {"batch_size": 512, "samples": 300}},
    "curvatures": {"fp32": {"precision": "fp32"}},
    "prune": {"all": {"params": 0.1}},
    "finetune": {"all": {"epochs": 200, "learning_rate": 0.1}},
    "qat": {"all": {"epochs": 30, "learning_rate": 0.1}},
    "methods": {"hap": {"criterion": "trace", "curvature": "fp32"}, "random": {"criterion": "random"}},
    "schemes": {"qat8": {"bits": 8}},
}
RUN = Run(CONFIG)


def _rate(stage: str, seconds: float, dataset: str = "cifar10", model: str = "resnet32") -> Rate:
    return Rate(stage, dataset, model, "a GPU", seconds)


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("results/run/prepare/cifar10/data.safetensors", Task("prepare", "cifar10")),
        ("results/run/pretrain/cifar10/resnet32/seed2/model.safetensors", Task("pretrain", "cifar10", "resnet32", 2)),
        (
            ".snakemake/storage/fs/shared/ehap/results/run/pretrain/cifar10/resnet32/seed2/model.safetensors",
            Task("pretrain", "cifar10", "resnet32", 2),
        ),
        (
            "results/run/quantize/cifar10/resnet32/seed0/hap/qat8/record.json",
            Task("quantize", "cifar10", "resnet32", 0, ("hap", "qat8")),
        ),
        ("results/run/tables/overview.csv", Task("tables")),
    ],
)
def test_a_path_says_which_job_writes_it(path: str, task: Task) -> None:
    assert task_of(path) == task


@pytest.mark.parametrize("model", NETWORKS)
def test_the_flops_that_scale_estimates_are_those_of_the_networks(model: str) -> None:
    assert flops(build_model(model, 10, seed=0), (3, 32, 32)) / 1e9 == pytest.approx(NETWORKS[model].gflops, abs=1e-4)


def test_settings_and_constructors_name_the_same_models_and_datasets() -> None:
    assert set(NETWORKS) == set(MODELS)
    assert set(names.DATASETS) == set(DATASETS)


def test_a_model_whose_flops_are_unknown_is_judged_by_its_own_records_only(monkeypatch: pytest.MonkeyPatch) -> None:
    task, other = Task("pretrain", "cifar10", "wrn28_8"), _rate("pretrain", 2.0)
    own = _rate("pretrain", 3.0, dataset="cifar100", model="wrn28_8")
    monkeypatch.setitem(NETWORKS, "wrn28_8", Model(title="WRN-28-8"))
    assert estimate(task, RUN, [other]) is None
    assert "no record yet" in summary([task], RUN, [other])
    assert estimate(task, RUN, [other, own]) == 900
    assert estimate(Task("pretrain", "cifar10", "resnet32"), RUN, [own]) is None


def test_records_of_a_model_whose_flops_are_unknown_are_read(tmp_path: Path) -> None:
    values = {"seconds": {"value": 60.0, "unit": "s"}}
    record = {"stage": "pretrain", "dataset": "cifar10", "model": "another", "device": "a GPU", "values": values}
    (tmp_path / "record.json").write_text(json.dumps({**record, "settings": {"epochs": 30}, "duration_s": 99.0}))
    assert rates([tmp_path]) == [_rate("pretrain", 2.0, model="another")]


def test_the_nearest_record_counts() -> None:
    task = Task("pretrain", "cifar10", "resnet32")
    same, other = _rate("pretrain", 2.0), _rate("pretrain", 3.0, dataset="cifar100")
    assert estimate(task, RUN, [same, other]) == 600
    assert estimate(task, RUN, [other]) == 900
    wide = Task("pretrain", "cifar10", "wrn28_8")
    assert estimate(wide, RUN, [same]) == pytest.approx(600 * 6.7202 / 0.1382)


def test_a_pruned_network_without_a_record_costs_what_the_dense_one_does() -> None:
    task = Task("finetune", "cifar10", "resnet32", 0, ("hap",))
    assert estimate(task, RUN, [_rate("pretrain", 2.0)]) == 400
    assert estimate(task, RUN, [_rate("pretrain", 2.0), _rate("finetune", 0.5)]) == 100


def test_without_a_near_record_there_is_no_estimate() -> None:
    assert estimate(Task("trace", "cifar10", "resnet32", 0, ("fp32",)), RUN, [_rate("pretrain", 2.0)]) is None
    text = summary([Task("trace", "cifar10", "resnet32", 0, ("fp32",))], RUN, [])
    assert "no record yet" in text
    assert "there is no record to judge by yet" in text


def test_the_summary_counts_jobs_and_adds_their_times() -> None:
    tasks = [Task("pretrain", "cifar10", "resnet32", seed) for seed in (0, 1)] + [Task("tables")]
    lines = summary(tasks, RUN, [_rate("pretrain", 2.0), Rate("tables", "", "", "another", 9.0)]).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["pretrain", "2"], ["tables", "1"], ["all", "3"]]
    assert "20 min" in lines[1]
    assert "judged by 1 records of a GPU" in lines[-1]


def test_rows_come_model_by_model_and_shared_jobs_count_once() -> None:
    tasks = [Task("pretrain", "cifar10", "resnet32", seed) for seed in (0, 1)]
    tasks += [Task("trace", "cifar10", "resnet32", 0, ("fp32",)), Task("finetune", "cifar10", "wrn28_8", 0, ("hap",))]
    tasks += [Task("finetune", dataset, "resnet32", 0, ("random",)) for dataset in RUN.grid.datasets]
    rows = rows_to_do(tasks, RUN)
    assert [(name, len(row)) for name, row in rows] == [
        (("cifar10", "resnet32", "hap"), 3),
        (("cifar10", "resnet32", "random"), 1),
        (("cifar100", "resnet32", "random"), 1),
        (("cifar10", "wrn28_8", "hap"), 1),
    ]


def test_rates_are_read_from_records(tmp_path: Path) -> None:
    record = {
        "stage": "qat",
        "dataset": "cifar10",
        "model": "resnet32",
        "device": "a GPU",
        "settings": {"epochs": 30},
        "values": {"seconds": {"value": 60.0, "unit": "s"}},
        "duration_s": 99.0,
    }
    (tmp_path / "record.json").write_text(json.dumps(record))
    assert rates([tmp_path]) == [_rate("quantize", 2.0)]


def test_records_of_older_code_count(tmp_path: Path) -> None:
    former, today = (
        tmp_path / "former/assess/cifar10/resnet32/seed0/hap",
        Task("evaluate_unrecovered", "cifar10", "resnet32", 0, ("hap",)),
    )
    former.mkdir(parents=True)
    record = {"stage": "assess", "dataset": "cifar10", "model": "resnet32", "device": "a GPU", "values": {}}
    (former / "record.json").write_text(json.dumps({**record, "settings": {}, "duration_s": 4.0}))
    assert rates([tmp_path]) == [Rate("evaluate_unrecovered", "cifar10", "resnet32", "a GPU", 4.0)]
    assert not_done_elsewhere([today], [tmp_path / "former"]) == []
