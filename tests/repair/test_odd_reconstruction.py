"""Reconstruction of unusual networks, and what it refuses."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ehap.errors import ArchitectureError, DataError, NumericsError, PlanError
from ehap.graph.channels import channel_graph
from ehap.pruning import mask_, prune
from ehap.pruning.plan import PruningPlan
from ehap.repair.reconstruction import reconstruct
from tests.pruning.plans import random_plan
from tests.repair.examples import error_of, everything_kept, plain_ridge, random_images


class _Depthwise(nn.Module):
    """A depthwise convolution, which keeps what it reads, and one in groups, which stay whole."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.point = nn.Conv2d(8, 6, 1)
        self.grouped = nn.Conv2d(6, 4, 3, groups=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.point(self.relu(self.norm(self.depthwise(self.first(x))))))
        return self.fc(torch.flatten(self.pool(x), 1))


def test_depthwise_convolutions_are_pruned_with_their_inputs_and_repaired(enliven: Callable[[nn.Module], None]) -> None:
    model = _Depthwise()
    enliven(model)
    model.double().eval()
    assert list(channel_graph(model).widths()) == ["first", "point", "grouped", "fc"]
    assert tuple(channel_graph(model).unpruned()) == ("point", "grouped", "fc")
    kept = everything_kept(model) | {"first": [0, 2, 3, 5, 7]}
    images = random_images(30)
    pruned, masked = prune(model, kept), copy.deepcopy(model)
    mask_(masked, kept)
    torch.testing.assert_close(pruned(images), masked(images), rtol=1e-9, atol=1e-9)
    assert pruned.depthwise.groups == 5
    found = reconstruct(model, pruned, kept, images, positions=None, held_out=0)
    assert {fit.layer: fit.unknowns for fit in found.fits} == {
        "first": 28,
        "depthwise": 10,
        "point": 6,
        "grouped": 28,
        "fc": 5,
    }
    assert error_of(found.network, model, images) < 0.7 * error_of(pruned, model, images)
    inputs = found.network.point(
        found.network.relu(found.network.norm(found.network.depthwise(found.network.first(images))))
    )
    for group in range(2):  # each group by itself is the ridge solution
        part = slice(3 * group, 3 * group + 3)
        rows = torch.nn.functional.unfold(inputs[:, part], 3).transpose(1, 2).reshape(-1, 27)
        rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], 1)
        dense = model.point(model.relu(model.norm(model.depthwise(model.first(images)))))
        outputs = slice(2 * group, 2 * group + 2)
        wanted = model.grouped(dense)[:, outputs].permute(0, 2, 3, 1).reshape(-1, 2)
        weight, bias = model.grouped.weight[outputs].flatten(1), model.grouped.bias[outputs]
        expected = rows @ plain_ridge(rows, wanted, torch.cat([weight, bias[:, None]], 1).T, 1e-2)
        result = found.network.grouped(inputs)[:, outputs].permute(0, 2, 3, 1).reshape(-1, 2)
        torch.testing.assert_close(result, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"images": torch.zeros(4, 1, 8, 8)},
            DataError,
            r"images of shape \(N, 3, H, W\) in float32 or float64, got \(4, 1, 8, 8\)",
        ),
        ({"images": torch.zeros(4, 3, 8, 8, dtype=torch.uint8)}, DataError, "normalised images .* of torch.uint8"),
        (
            {"images": torch.zeros(1, 3, 8, 8)},
            DataError,
            r"at least 2 images to fit layers to, got 0 and 1 held out .*; 0 fits all",
        ),
        ({"images": torch.zeros(1, 3, 8, 8), "held_out": 0}, DataError, r"at least 2 images to fit layers to, got 1\."),
        ({"held_out": 1.0}, DataError, r"expected held_out, .*, in \[0, 1\), got 1"),
        ({"images": torch.full((4, 3, 8, 8), torch.nan)}, NumericsError, "the images hold NaN or Inf"),
        ({"images": torch.zeros(4, 3, 16, 16)}, DataError, r"cannot take images \(3, 16, 16\) of torch.float32 on cpu"),
        ({"images": torch.zeros(4, 3, 8, 8).double()}, DataError, r"cannot take images .* of torch.float64 on cpu"),
        ({"ridge": 0.0}, PlanError, "expected a finite ridge above 0, got 0"),
        (
            {"ridge": 1e-300, "images": torch.ones(4, 3, 8, 8)},
            NumericsError,
            r"conv1: the images leave weights open that a ridge of 1e-300 does not",
        ),
        ({"images": torch.full((4, 3, 8, 8), torch.inf)}, NumericsError, "the images hold NaN or Inf"),
        ({"positions": 0}, PlanError, "at least 1 position of each map, got 0"),
        ({"plan": {"conv1": [0]}}, PlanError, "the plan is for another model"),
    ],
)
def test_bad_input_is_refused(tiny: nn.Module, change: dict[str, object], error: type, message: str) -> None:
    kept = everything_kept(tiny)
    given: dict[str, object] = {"plan": kept, "images": torch.zeros(4, 3, 8, 8)}
    with pytest.raises(error, match=message):
        reconstruct(tiny, prune(tiny, kept), **given | change)  # type: ignore[arg-type]


def test_images_of_another_size_than_the_plans_and_a_network_of_another_type_are_refused(tiny: nn.Module) -> None:
    kept = everything_kept(tiny)
    planned = PruningPlan(kept, channel_graph(tiny).widths(), 0, 0, 0, 0, (3, 32, 32))
    with pytest.raises(DataError, match=r"images of the plan's shape \(3, 32, 32\), got \(3, 8, 8\)"):
        reconstruct(tiny, prune(tiny, kept), planned, torch.zeros(4, 3, 8, 8))
    with pytest.raises(DataError, match="the pruned network cannot take images"):
        reconstruct(tiny, prune(tiny, kept).double(), kept, torch.zeros(4, 3, 8, 8))


def test_a_network_of_another_plan_is_refused_and_one_that_is_broken(tiny: nn.Module) -> None:
    kept = everything_kept(tiny)
    other = kept | {"conv1": [0, 1]}
    with pytest.raises(PlanError, match="conv1: the network was pruned by another plan"):
        reconstruct(tiny, prune(tiny, other), kept, torch.zeros(4, 3, 8, 8))
    broken = copy.deepcopy(tiny)
    with torch.no_grad():
        broken.block1.conv1.weight[0, 0, 0, 0] = torch.inf
    with pytest.raises(NumericsError, match=r"block1\.conv1\.weight: the network holds NaN or Inf"):
        reconstruct(broken, prune(tiny, kept), kept, torch.ones(4, 3, 8, 8))


class _Inplace(nn.Module):
    """A shortcut that is read before an activation overwrites its input, and added after it."""

    def __init__(self, inplace: bool, function: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.projection = nn.Conv2d(6, 5, 1)
        self.relu = nn.ReLU(inplace=inplace)
        self.inner = nn.Conv2d(6, 5, 3, padding=1)
        self.overwriting, self.function = inplace, function
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        shortcut = self.projection(x)
        active = torch.nn.functional.relu(x, self.overwriting) if self.function else self.relu(x)
        total = shortcut + self.inner(active)
        return self.fc(torch.flatten(self.pool(torch.nn.functional.relu(total, inplace=self.overwriting)), 1))


@pytest.mark.parametrize("function", [False, True], ids=["module", "function"])
def test_activations_that_overwrite_their_input_change_nothing(function: bool) -> None:
    torch.manual_seed(0)
    plain = _Inplace(inplace=False, function=function).double().eval()
    overwriting = _Inplace(inplace=True, function=function).double().eval()
    overwriting.load_state_dict(plain.state_dict())
    kept, images = everything_kept(plain) | {"first": [0, 1, 3, 4]}, random_images(20)
    expected, found = (reconstruct(each, prune(each, kept), kept, images).network for each in (plain, overwriting))
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in expected.state_dict().items())
    assert function or found.relu.inplace


def test_each_module_stays_in_its_mode(tiny: nn.Module) -> None:
    kept = everything_kept(tiny) | {"conv1": [0, 1]}
    pruned = prune(tiny, kept).train()
    pruned.block1.bn1.eval()
    network = reconstruct(tiny, pruned, kept, random_images(4).float()).network
    assert [name for name, module in network.named_modules() if not module.training] == ["block1.bn1"]


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_the_digits_are_refused(tiny: nn.Module, half: torch.dtype) -> None:
    kept = everything_kept(tiny) | {"conv1": [0, 1]}
    tiny.to(half)
    with pytest.raises(DataError, match=r"in float32 or float64, got \(4, 3, 8, 8\) of torch\.b?float16"):
        reconstruct(tiny, prune(tiny, kept), kept, random_images(4).to(half))


def test_batchnorm_without_statistics_is_refused_and_counts_anew(tiny: nn.Module) -> None:
    kept = everything_kept(tiny) | {"conv1": [0, 1]}
    tiny.bn1.num_batches_tracked.fill_(1000)
    assert reconstruct(tiny, prune(tiny, kept), kept, random_images(4).float()).network.bn1.num_batches_tracked == 0
    tiny.bn1.running_mean = tiny.bn1.running_var = None
    with pytest.raises(ArchitectureError, match=r"bn1: expected BatchNorm2d with running statistics"):
        reconstruct(tiny, prune(tiny, kept), kept, random_images(4).float())


def test_autocast_changes_no_repair(tiny: nn.Module) -> None:
    images = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    kept = random_plan(tiny, 0)
    smaller = prune(tiny, kept)
    wanted = reconstruct(tiny, smaller, kept, images)
    with torch.autocast("cpu", torch.bfloat16):
        found = reconstruct(tiny, smaller, kept, images)
    assert found.unseen == wanted.unseen
    for name, tensor in wanted.network.state_dict().items():
        assert tensor.equal(found.network.state_dict()[name])
