import pytest
import torch
from torch import nn

from ehap.data import CIFAR_SHAPE
from ehap.errors import SettingsError
from ehap.evaluation import flops, parameters
from ehap.models import MODELS, build_model

# DESIGN, section 2: parameters for 10 and 100 classes, ranked channels for both, GFLOPs for 10 classes.
EXPECTED = {
    "resnet20": (272_474, 278_324, 794, 884, 0.0816),
    "resnet32": (466_906, 472_756, 1_242, 1_332, 0.1382),
    "resnet56": (855_770, 861_620, 2_138, 2_228, 0.2515),
    "wrn28_8": (23_356_634, 23_402_804, 8_090, 8_180, 6.7202),
}


@pytest.mark.parametrize("name", MODELS)
def test_counts_are_those_of_the_design(name: str) -> None:
    ten, hundred = build_model(name, 10, seed=0), build_model(name, 100, seed=0)
    channels = [
        sum(module.weight.shape[0] for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear)))
        for model in (ten, hundred)
    ]
    gflops = round(flops(ten, CIFAR_SHAPE) / 1e9, 4)
    assert (parameters(ten), parameters(hundred), *channels, gflops) == EXPECTED[name]


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (build_model("resnet20", 10, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_initial_weights_are_he_normal() -> None:
    weight = build_model("wrn28_8", 10, seed=0).layer3[1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.01)


def test_building_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    build_model("resnet20", 10, seed=5)
    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(SettingsError, match="unknown model 'resnet21'; expected one of resnet20"):
        build_model("resnet21", 10)
