import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from ehap.errors import SettingsError
from ehap.settings import Run
from ehap.workflow.cells import record_paths

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def demo() -> dict[str, Any]:
    return yaml.safe_load((CONFIG / "demo.yaml").read_text())


def test_the_paper_configuration_holds_the_papers_settings() -> None:
    run = Run(yaml.safe_load((CONFIG / "config.yaml").read_text()))
    assert (run.grid.models, run.grid.datasets) == (("resnet32", "resnet56", "wrn28_8"), ("cifar10", "cifar100"))
    pretrain = run.pretrain("cifar100", "wrn28_8")
    assert (pretrain.epochs, pretrain.learning_rate, pretrain.momentum, pretrain.weight_decay) == (
        200,
        0.1,
        0.875,
        5e-4,
    )
    assert run.prune("cifar100", "resnet56", "hap").prune_ratio == 0.83348295
    trace = run.trace("cifar10", "wrn28_8", "hutchinson-fp16")
    assert (trace.batch_size, trace.samples, trace.precision, trace.scale) == (256, 300, "fp16", 256.0)
    qat = run.qat("cifar10", "resnet32", "ehap", "qat8")
    assert (qat.epochs, qat.learning_rate, qat.nesterov, qat.bits) == (30, 1e-4, False, 8)


def test_the_more_specific_selector_wins(demo: dict[str, Any]) -> None:
    demo["pretrain"] |= {"digits": {"epochs": 5}, "resnet20": {"epochs": 6}, "digits/resnet20": {"epochs": 7}}
    assert Run(demo).pretrain("digits", "resnet20").epochs == 7
    del demo["pretrain"]["digits/resnet20"]
    assert Run(demo).pretrain("digits", "resnet20").epochs == 6


def test_a_method_overrides_and_a_budget_replaces_one_of_the_other_kind(demo: dict[str, Any]) -> None:
    demo["methods"]["random"] |= {"prune": {"prune_ratio": 0.5}, "finetune": {"epochs": 9}}
    run = Run(demo)
    assert (
        run.prune("digits", "resnet20", "random").prune_ratio,
        run.prune("digits", "resnet20", "random").params,
    ) == (
        0.5,
        None,
    )
    assert run.prune("digits", "resnet20", "hap").params == 0.3
    demo["prune"] = {"all": {"params": 0.3, "flops": 0.4, "fill": "both"}}
    assert Run(demo).prune("digits", "resnet20", "hap").fill == "both"
    assert Run(demo).prune("digits", "resnet20", "random").fill == "first"
    assert run.finetune("digits", "resnet20", "random").epochs == 9
    assert run.finetune("digits", "resnet20", "hap").epochs == demo["finetune"]["all"]["epochs"] != 9


def _set(config: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    *folders, last = path.split("|")
    block = changed
    for folder in folders:
        block = block[folder]
    block[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("gird", {}, "gird: unknown key 'gird'.*Did you mean 'grid'"),
        ("name", "a/b", "name: expected letters"),
        (
            "grid|datasets",
            ["mnist"],
            "grid.datasets: unknown dataset 'mnist'; expected one of cifar10, cifar100, digits",
        ),
        ("grid|models", ["resnet18"], "grid.models: unknown model 'resnet18'; expected one of resnet20"),
        ("grid|methods", ["happ"], "grid.methods: unknown method 'happ'.*Did you mean 'hap'"),
        ("grid|schemes", ["qat3"], "grid.schemes: unknown scheme 'qat3'"),
        ("grid|seeds", [], "grid.seeds: expected at least one entry"),
        ("grid|seeds", ["one"], r"grid.seeds\[0\]: expected a whole number"),
        ("pretrain|resnet57", {}, "pretrain: unknown selector 'resnet57'"),
        ("pretrain|resnet56", {"epochz": 1}, "pretrain.resnet56.epochz: unknown setting"),
        ("prune|all", {"params": 1.5}, r"prune.all: params must lie in \(0, 1\], got 1.5"),
        ("methods|hap", {"criterion": "trace"}, "methods.hap: criterion trace needs a curvature"),
        (
            "methods|hap",
            {"criterion": "magnitude", "curvature": "hutchinson-fp32"},
            "only the criteria trace, diagonal",
        ),
        (
            "methods|hap",
            {"criterion": "trace", "curvature": "exakt"},
            "methods.hap.curvature: unknown curvature 'exakt'",
        ),
        (
            "methods|hap",
            {"criterion": "best"},
            "methods.hap: criterion: unknown criterion 'best'; expected one",
        ),
        ("methods|dense", {"criterion": "random"}, "methods.dense: a name has"),
        ("curvatures|hutchinson-fp32", {"precison": "fp32"}, "curvatures.hutchinson-fp32.precison: unknown setting"),
        ("grid|seeds", [0, 0], r"grid.seeds: expected each entry once, got \[0, 0\]"),
        ("grid|seeds", [-1], "grid.seeds: expected whole numbers from 0 to 2147483647, got -1"),
        ("methods", None, "grid.methods: unknown method 'hap'; expected one of none"),
        ("schemes", {"qat8": {}, "ptq8": {}, "float": {"bits": 32}, "a/b": {}}, "schemes.a/b: a name has letters"),
        ("schemes|qat8", {"bits": 9}, "schemes.qat8: bits must be 2 to 8, or 32 for none at all, got 9"),
        ("methods|unused", {"criterion": "random", "prune": {"params": 7}}, "methods.unused.prune: params must lie in"),
        ("methods|random|prune", {"criterion": "trace"}, "methods.random.prune.criterion: give the criterion in"),
        ("trace|all", {"batch_size": 8, "samples": 0}, "trace.all: samples must be at least 1"),
        ("machine|device", "tpu", "machine.device: unknown value 'tpu'; expected one of auto, cpu, cuda"),
    ],
)
def test_a_wrong_configuration_is_named(demo: dict[str, Any], path: str, value: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Run(_set(demo, path, value))


def test_a_list_of_budgets_is_one_method_a_value(demo: dict[str, Any]) -> None:
    config = demo
    config["methods"]["random"] = {"criterion": "random", "prune": {"params": [0.5, 0.125]}}
    run = Run(config)
    assert run.grid.methods == ("hap", "ehap-bf16", "magnitude", "random-50", "random-12_5")
    assert run.prune("digits", "resnet20", "random-12_5").params == 0.125
    config["methods"]["random"]["prune"]["params"] = [0.5, "half"]
    with pytest.raises(SettingsError, match=r"methods.random.prune.params: expected numbers, got 'half'"):
        Run(config)
    config["methods"]["random"]["prune"] = {"params": [0.5], "flops": [0.5]}
    with pytest.raises(SettingsError, match=r"methods.random.prune: expected one list of budgets"):
        Run(config)


@pytest.mark.parametrize("first", ["random", "random-50"])
def test_a_sweep_does_not_take_the_place_of_a_method(demo: dict[str, Any], first: str) -> None:
    sweep, own = {"criterion": "random", "prune": {"params": [0.5]}}, {"criterion": "magnitude"}
    methods = {"random": sweep, "random-50": own}
    demo["methods"] |= {first: methods.pop(first)} | methods
    with pytest.raises(SettingsError, match=r"methods.random.prune.params: 0.5 makes a second method named random-50"):
        Run(demo)


def test_a_network_from_new_weights_trains_as_in_pretraining_for_the_epochs_of_both(demo: dict[str, Any]) -> None:
    config = demo
    config["methods"]["random"] = {"criterion": "random", "prune": {"reinitialize": True}, "finetune": {"distill": 0.5}}
    settings, first = Run(config).finetune("digits", "resnet20", "random"), Run(config).pretrain("digits", "resnet20")
    usual = Run(config).finetune("digits", "resnet20", "magnitude")
    assert settings.epochs == first.epochs + usual.epochs
    assert (settings.learning_rate, settings.distill) == (first.learning_rate, 0.5)


def test_a_criterion_must_be_one_that_its_curvature_computes(demo: dict[str, Any]) -> None:
    config = demo
    config["methods"]["gate"] = {"criterion": "gate", "curvature": "hutchinson-fp32"}
    with pytest.raises(SettingsError, match="criterion gate needs a curvature that computes it, and hutchinson-fp32"):
        Run(config)
    config["curvatures"]["all"] = {"estimator": "exact", "criteria": ["gate", "block"]}
    config["methods"]["gate"]["curvature"] = "all"
    assert Run(config).trace("digits", "resnet20", "all").criteria == ("gate", "block")
    config["methods"]["hap"]["prune"] = {"rounds": 2}
    with pytest.raises(SettingsError, match=r"methods.hap: rounds above 1 .* expected a curvature of estimator exact"):
        Run(config)


def test_a_method_repairs_without_labels_where_it_is_given_images(demo: dict[str, Any]) -> None:
    config = copy.deepcopy(demo)
    config["methods"]["random"] = {"criterion": "random", "reconstruct": {"images": [64, 256], "ridge": "1e-3"}}
    run = Run(config)
    assert run.reconstructed() == ("digits/resnet20/random-images64", "digits/resnet20/random-images256")
    assert run.repair_images() == (64, 256)
    repair = run.reconstruct("digits", "resnet20", "random-images256")
    assert (repair.images, repair.ridge, repair.distill_steps) == (256, 1e-3, 300)
    assert run.reconstruct("digits", "resnet20", "hap").images == 0
    config["methods"]["random"]["reconstruct"] = {"images": ["64", "128"]}  # as --config gives nested values
    assert Run(config).repair_images() == (64, 128)
    assert [name.rsplit("/", 1)[1] for name in Run(config).reconstructed()] == ["random-images64", "random-images128"]
    config["methods"]["random"]["reconstruct"] = {"images": 64, "draw": [0, 1]}
    assert [name.rsplit("/", 1)[1] for name in Run(config).reconstructed()] == ["random-draw0", "random-draw1"]
    assert Run(config).repair_images() == (64,)
    config["reconstruct"] = {"digits": {"images": 128}}
    assert Run(config).reconstruct("digits", "resnet20", "hap").images == 128


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"images": 1, "held_out": 0}, r"methods.random.reconstruct: images must be 0 .* or at least 2, got 1"),
        ({"images": 2}, r"methods.random.reconstruct: images must be 0 .* or at least 3 with held_out 0.125, got 2"),
        ({"images": 64, "held_out": 1}, r"methods.random.reconstruct: held_out must lie in \[0, 1\), got 1"),
        ({"images": ["-3"]}, "methods.random.reconstruct.images: expected whole numbers, got '-3'"),
        ({"images": ["few"]}, "methods.random.reconstruct.images: expected whole numbers, got 'few'"),
        ({"images": 64, "ridge": 0}, "methods.random.reconstruct: ridge must be above 0, got 0"),
        ({"images": 64, "ridge": None, "distill_steps": 0}, "ridge null and distill_steps 0 leave nothing to do"),
        ({"image": 64}, "methods.random.reconstruct.image: unknown setting 'image'"),
    ],
)
def test_wrong_settings_of_a_repair_are_named(demo: dict[str, Any], block: dict[str, Any], message: str) -> None:
    config = copy.deepcopy(demo)
    config["methods"]["random"] = {"criterion": "random", "reconstruct": block}
    with pytest.raises(SettingsError, match=message):
        Run(config)


def test_what_cannot_be_repaired_is_refused_when_the_configuration_is_read(demo: dict[str, Any]) -> None:
    config = copy.deepcopy(demo)
    config["methods"]["random"] = {
        "criterion": "random",
        "prune": {"reinitialize": True},
        "reconstruct": {"images": 64},
    }
    with pytest.raises(SettingsError, match=r"methods.random: .* prune.reinitialize cannot be reconstructed"):
        Run(config)


def test_only_fine_tuning_may_have_no_epoch(demo: dict[str, Any]) -> None:
    config = copy.deepcopy(demo)
    config["finetune"] = {"all": {"epochs": 0, "learning_rate": 0.01}}
    assert Run(config).finetune("digits", "resnet20", "hap").epochs == 0
    config["pretrain"] = {"all": {"epochs": 0, "learning_rate": 0.01}}
    with pytest.raises(SettingsError, match=r"pretrain.all: epochs must be at least 1, got 0"):
        Run(config)


def test_a_dense_network_may_start_from_a_file(demo: dict[str, Any], tmp_path: Path) -> None:
    config = copy.deepcopy(demo)
    config["grid"]["seeds"] = [0, 1]
    block = {"epochs": 0, "learning_rate": 0.01, "weights": f"{tmp_path}/{{model}}-{{seed}}.pth"}
    config["pretrain"] = {"all": block}
    (tmp_path / "resnet20-0.pth").touch()
    with pytest.raises(SettingsError, match=r"weights for resnet20 on digits, seed 1, .* none at .*/resnet20-1.pth"):
        Run(config)
    (tmp_path / "resnet20-1.pth").touch()
    assert Run(config).pretrain("digits", "resnet20").file("digits", "resnet20", 1) == f"{tmp_path}/resnet20-1.pth"
    config["methods"]["random"] = {"criterion": "random", "prune": {"reinitialize": True}}
    with pytest.raises(SettingsError, match=r"methods.random: prune.reinitialize trains as in pretrain, which has"):
        Run(config)
    config["methods"]["random"]["finetune"] = {"epochs": 7, "learning_rate": 0.3}
    trained = Run(config).finetune("digits", "resnet20", "random")
    assert (trained.epochs, trained.learning_rate) == (7, 0.3)
    config["methods"]["random"] = {"criterion": "random"}
    for name in ("{sead}", "{0}", "{", "{seed.x}"):
        config["pretrain"] = {"all": block | {"weights": name}}
        with pytest.raises(SettingsError, match=r"pretrain.all: weights: expected the name of a file, in braces only"):
            Run(config)


def test_a_selector_repairs_and_deploys_where_it_says_so_only(demo: dict[str, Any]) -> None:
    config = copy.deepcopy(demo)
    config["grid"] |= {"models": ["resnet20", "resnet32"], "methods": ["hap", "random"], "schemes": ["qat8", "low"]}
    config["schemes"]["low"] = {"bits": 4}
    config["methods"]["random"]["qat"] = {"bits": 4}
    config["reconstruct"] = {"resnet20": {"images": 64}}
    config["deploy"] = {"all": {}}
    del config["latency"]
    run = Run(config)
    assert run.reconstructed() == ("digits/resnet20/hap", "digits/resnet20/random")
    assert run.deployed() == ("digits/resnet20/hap/qat8", "digits/resnet32/hap/qat8")
    paths = [str(path) for path in record_paths(Path("results"), run.tables())]
    repaired = [path for path in paths if path.startswith("results/reconstruct/")]
    assert len(repaired) == 4  # two methods, two seeds
    assert all("/resnet20/" in path for path in repaired)
    assert not any(path.startswith("results/latency/") for path in paths)
    config["latency"] = {"resnet20": {"rounds": 3}}
    timed = [str(path) for path in record_paths(Path("results"), Run(config).tables()) if "/latency/" in str(path)]
    assert len(timed) == 4
    rounds = [
        Run(config).settings("latency", {"dataset": "digits", "model": each}).rounds
        for each in config["grid"]["models"]
    ]
    assert rounds == [3, 25]
    with pytest.raises(SettingsError, match="latency: expected a block deploy beside it"):
        Run({name: block for name, block in config.items() if name != "deploy"})
    deployed = [path for path in paths if path.startswith("results/deploy/")]
    assert len(deployed) == 4
    assert all(path.endswith("/hap/qat8/record.json") for path in deployed)
