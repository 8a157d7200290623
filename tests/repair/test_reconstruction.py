"""Least squares after pruning: exact where pruning loses nothing, the normal equations elsewhere."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ehap.errors import ArchitectureError, DataError, NumericsError, PlanError, StoppedError
from ehap.graph.channels import channel_graph
from ehap.models import INPUT_SHAPE, build_model
from ehap.pruning import mask_, prune
from ehap.pruning.plan import PruningPlan
from ehap.repair.reconstruction import reconstruct
from tests.checkpointers import Memory, loaded
from tests.pruning.plans import random_plan

Kept = dict[str, list[int]]


def _everything(model: nn.Module) -> Kept:
    return {name: list(range(width)) for name, width in channel_graph(model).widths().items()}


def _images(count: int, size: int = 8, channels: int = 3) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _lost(network: nn.Module, model: nn.Module, images: Tensor) -> float:
    wanted = model(images)
    return ((network(images) - wanted).norm() / wanted.norm()).item()


def test_where_nothing_is_pruned_nothing_changes(tiny: nn.Module, enliven: Callable[[nn.Module], None]) -> None:
    images = _images(40).float()
    found = reconstruct(tiny, prune(tiny, _everything(tiny)), _everything(tiny), images)
    assert (found.network(images) - tiny(images)).abs().max() < 1e-5
    model = build_model("resnet20", 10, seed=0)
    enliven(model)
    images = torch.randn(8, *INPUT_SHAPE, generator=torch.Generator().manual_seed(0))
    found = reconstruct(model.eval(), prune(model, _everything(model)), _everything(model), images)
    assert _lost(found.network, model, images) < 1e-5


class _Chain(nn.Module):
    """Convolutions without activations between: any mixture of channels passes on."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 5, 3, stride=2, padding=2, dilation=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.pool(self.second(self.norm(self.first(x)))), 1))


def test_a_mixture_of_kept_channels_is_removed_without_loss_in_a_chain(enliven: Callable[[nn.Module], None]) -> None:
    model = _Chain()
    enliven(model)
    model.double().eval()
    with torch.no_grad():
        model.norm.weight.fill_(1)
        model.norm.bias.zero_()
        model.norm.running_mean.zero_()
        model.norm.running_var.fill_(1)
        model.first.weight[4] = 0.7 * model.first.weight[0] - 1.3 * model.first.weight[2]
    kept = _everything(model) | {"first": [0, 1, 2, 3, 5]}
    images = _images(30)
    pruned = prune(model, kept)
    assert _lost(pruned, model, images) > 0.05
    found = reconstruct(model, pruned, kept, images, ridge=1e-6, positions=None)
    assert _lost(found.network, model, images) < 1e-4
    assert _lost(found.network, model, _images(60)[30:]) < 1e-4  # on others, too


def _copy_channel_(model: nn.Module, conv: str, norm: str, source: int, target: int, factor: float) -> None:
    """Make a layer's channel ``factor`` times another one, which ReLU lets through."""
    layer, after = model.get_submodule(conv), model.get_submodule(norm)
    with torch.no_grad():
        layer.weight[target] = layer.weight[source]
        for name in ("running_mean", "running_var"):
            getattr(after, name)[target] = getattr(after, name)[source]
        for name in ("weight", "bias"):
            getattr(after, name)[target] = factor * getattr(after, name)[source]


def test_in_a_branch_and_across_a_union_when_every_writer_carries_it(tiny: nn.Module) -> None:
    model = tiny.double()
    _copy_channel_(model, "block1.conv1", "block1.bn1", 1, 3, 1.7)
    _copy_channel_(model, "conv1", "bn1", 0, 2, 0.6)
    _copy_channel_(model, "block1.conv2", "block1.bn2", 0, 2, 0.6)
    kept = _everything(model) | {"block1.conv1": [0, 1, 2], "conv1": [0, 1, 3], "block1.conv2": [0, 1, 3]}
    images = _images(40)
    pruned = prune(model, kept)
    assert _lost(pruned, model, images) > 0.05
    found = reconstruct(model, pruned, kept, images, ridge=1e-6)
    assert _lost(found.network, model, images) < 1e-4
    worse = kept | {"block1.conv2": [1, 2, 3]}  # the writers keep different ones: each repairs what it can reach
    found = reconstruct(model, prune(model, worse), worse, images, ridge=1e-6)
    assert _lost(found.network, model, images) < 0.5 * _lost(prune(model, worse), model, images)


def test_dead_channels_and_dead_inputs_do_no_harm(tiny: nn.Module) -> None:
    model = tiny.double()
    with torch.no_grad():
        model.bn1.weight[1] = model.bn1.bias[1] = 0  # an input of block1 that is always zero
        model.block1.conv1.weight[2] = 0  # a row of zeros
        model.block2.bn1.weight[:] = model.block2.bn1.bias[:] = 0  # a layer with no input but zeros behind it
    kept = _everything(model) | {"block1.conv1": [0, 2, 3]}
    images = _images(20)
    found = reconstruct(model, prune(model, kept), kept, images)
    assert all(tensor.isfinite().all() for tensor in found.network.state_dict().values())
    assert _lost(found.network, model, images) < _lost(prune(model, kept), model, images)


def _plain_ridge(rows: Tensor, wanted: Tensor, trained: Tensor, ridge: float) -> Tensor:
    """Return the ridge solution, (unknowns, outputs), from rows with a column of ones, as the formula says."""
    gram = rows.T @ rows
    pull = torch.full((len(gram),), ridge * gram.diagonal()[:-1].mean().item(), dtype=rows.dtype)
    pull[-1] = 0
    return torch.linalg.solve(gram + torch.diag(pull), rows.T @ wanted + pull[:, None] * trained)


def test_layers_are_the_ridge_solutions_of_the_formula(tiny: nn.Module) -> None:
    model, images, ridge = tiny.double(), _images(25), 0.03
    kept = _everything(model) | {"conv1": [0, 2], "block1.conv1": [1, 2]}
    found = reconstruct(model, prune(model, kept), kept, images, ridge, positions=None, held_out=0)
    network = found.network
    inputs = network.relu(network.bn1(network.conv1(images)))
    rows = torch.nn.functional.unfold(inputs, 3, padding=1).transpose(1, 2).reshape(-1, 18)
    rows = torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], 1)
    dense = model.block1.bn1(model.block1.conv1(model.relu(model.bn1(model.conv1(images)))))
    wanted = dense[:, [1, 2]].permute(0, 2, 3, 1).reshape(-1, 2)
    norm = model.block1.bn1
    factor = (norm.weight / (norm.running_var + norm.eps).sqrt())[[1, 2]]
    weight = model.block1.conv1.weight[[1, 2]][:, [0, 2]] * factor.view(-1, 1, 1, 1)
    trained = torch.cat([weight.flatten(1), torch.zeros(2, 1, dtype=weight.dtype)], 1).T
    expected = rows @ _plain_ridge(rows, wanted, trained, ridge)
    result = network.block1.bn1(network.block1.conv1(inputs)).permute(0, 2, 3, 1).reshape(-1, 2)
    torch.testing.assert_close(result, expected, rtol=1e-8, atol=1e-8)
    fit = next(each for each in found.fits if each.layer == "block1.conv1")
    assert (fit.unknowns, fit.equations) == (19, 25 * 64)
    assert fit.after == pytest.approx(((expected - wanted).square().sum() / wanted.square().sum()).item(), rel=1e-8)


def test_the_last_writer_of_a_sum_aims_at_what_the_stream_lacks(tiny: nn.Module) -> None:
    model, images = tiny.double(), _images(25)
    kept = _everything(model) | {"conv1": [0, 1, 3]}  # channel 2 of the stream is left to block1.conv2 alone
    found = reconstruct(model, prune(model, kept), kept, images, ridge=1e-6, positions=None, held_out=0)
    network = found.network

    def stream(each: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        before = each.relu(each.bn1(each.conv1(images)))
        block = each.block1
        inside = block.relu1(block.bn1(block.conv1(before)))
        return before, inside, block.bn2(block.conv2(inside))

    (before, _, branch), (carried, inside, repaired) = stream(model), stream(network)
    brought = torch.zeros_like(branch)
    brought[:, [0, 1, 3]] = carried
    left = (before + branch - brought - repaired).permute(0, 2, 3, 1).reshape(-1, 4)
    rows = torch.nn.functional.unfold(inside, 3, padding=1).transpose(1, 2).reshape(-1, 36)
    assert left.norm() > 1e-2
    assert (rows.T @ left).abs().max() < 1e-4 * rows.norm() * left.norm()  # no better weights would do more
    assert (left.mean(0).abs() < 1e-6).all()


def test_the_wider_writer_of_a_sum_comes_last(tiny: nn.Module) -> None:
    kept = _everything(tiny) | {"conv1": [0, 1]}
    found = reconstruct(tiny, prune(tiny, kept), kept, _images(10).float())
    order = [fit.layer for fit in found.fits]
    assert order.index("block2.downsample.0") < order.index("block2.conv2")
    assert set(order) == set(kept)


def test_rows_keep_their_norms_and_batchnorm_has_the_statistics_of_the_images(tiny: nn.Module) -> None:
    kept = _everything(tiny) | {"conv1": [0, 2], "block1.conv1": [0, 1, 3]}
    images = _images(30).float()
    pruned = prune(tiny, kept)
    network = reconstruct(tiny, pruned, kept, images, held_out=0).network
    for name in ("conv1", "block1.conv1", "block2.conv2"):
        before, after = (each.get_submodule(name).weight.flatten(1).norm(dim=1) for each in (pruned, network))
        torch.testing.assert_close(after, before)
    values = network.conv1(images)
    torch.testing.assert_close(network.bn1.running_mean, values.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.bn1.running_var, values.var((0, 2, 3)), rtol=1e-4, atol=1e-5)
    in_eval = network(images)
    torch.testing.assert_close(network.train()(images), in_eval, rtol=1e-2, atol=1e-2)  # both see the same statistics


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
    assert channel_graph(model).unpruned() == ("point", "grouped", "fc")
    kept = _everything(model) | {"first": [0, 2, 3, 5, 7]}
    images = _images(30)
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
    assert _lost(found.network, model, images) < 0.7 * _lost(pruned, model, images)
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
        expected = rows @ _plain_ridge(rows, wanted, torch.cat([weight, bias[:, None]], 1).T, 1e-2)
        result = found.network.grouped(inputs)[:, outputs].permute(0, 2, 3, 1).reshape(-1, 2)
        torch.testing.assert_close(result, expected, rtol=1e-8, atol=1e-8)


def test_fewer_equations_than_unknowns_are_seen_and_stay_near_the_trained_weights(tiny: nn.Module) -> None:
    kept = _everything(tiny) | {"conv1": [0, 1, 2]}
    found = reconstruct(tiny, prune(tiny, kept), kept, _images(2).float(), ridge=1e6, held_out=0)
    few = {fit.layer for fit in found.fits if fit.equations < fit.unknowns}
    assert few == {"block2.conv1", "block2.conv2", "fc"}
    last = found.fits[-1]
    assert (last.layer, last.unknowns, last.equations) == ("fc", 25, 2)
    assert {fit.images for fit in found.fits} == {2}  # of which many positions give equations
    assert 0 < last.after < last.before  # the bias is not pulled
    torch.testing.assert_close(found.network.fc.weight, tiny.fc.weight, rtol=1e-3, atol=1e-4)


def test_positions_are_drawn_by_the_seed_and_networks_stay_as_they_are(tiny: nn.Module) -> None:
    kept = _everything(tiny) | {"conv1": [0, 1]}
    pruned, images = prune(tiny.train(), kept), _images(12).float()
    states = [copy.deepcopy(each.state_dict()) for each in (tiny, pruned)]
    first, again, other = (
        reconstruct(tiny, pruned, kept, images, positions=5, seed=seed).network for seed in (1, 1, 2)
    )
    assert first.training
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in first.state_dict().items())
    assert not torch.equal(first.fc.weight, other.fc.weight)
    for each, state in zip((tiny, pruned), states, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in each.state_dict().items())
        assert all(parameter.requires_grad for parameter in each.parameters())
    assert all(parameter.requires_grad for parameter in first.parameters())


@pytest.mark.parametrize("stop_after", [1, 4, 6])  # a state after every layer
def test_going_on_from_any_layer_gives_the_very_same_network(tiny: nn.Module, stop_after: int) -> None:
    kept, images = _everything(tiny) | {"conv1": [0, 1]}, _images(12).float()
    pruned = prune(tiny, kept)
    whole = reconstruct(tiny, pruned, kept, images, positions=5)
    broken = Memory(stop_after)
    with pytest.raises(StoppedError):
        reconstruct(tiny, pruned, kept, images, positions=5, checkpointer=broken)
    rest = Memory(start=broken.states[-1])
    found = reconstruct(tiny, pruned, kept, images, positions=5, checkpointer=rest)
    assert len(rest.states) == len(whole.fits) - stop_after  # nothing is fitted twice
    assert found.fits == whole.fits
    assert found.seconds > loaded(broken.states[-1])["seconds"] > 0
    tensors = found.network.state_dict()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in whole.network.state_dict().items())


def test_the_result_is_saved_loaded_and_exported(enliven: Callable[[nn.Module], None]) -> None:
    model = build_model("resnet20", 10, seed=0)
    enliven(model)
    model.eval()
    generator = torch.Generator().manual_seed(3)
    kept = {
        name: sorted(torch.randperm(width, generator=generator)[: width if name == "fc" else width // 2].tolist())
        for name, width in _everything(model).items()
        for width in [len(_everything(model)[name])]
    }
    images = torch.randn(8, *INPUT_SHAPE, generator=generator)
    found = reconstruct(model, prune(model, kept), kept, images).network
    loaded = prune(model, kept)
    loaded.load_state_dict(found.state_dict())
    assert torch.equal(loaded.eval()(images), found(images))
    exported = torch.export.export(found, (images,))
    torch.testing.assert_close(exported.module()(images), found(images))


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
    kept = _everything(tiny)
    given: dict[str, object] = {"plan": kept, "images": torch.zeros(4, 3, 8, 8)}
    with pytest.raises(error, match=message):
        reconstruct(tiny, prune(tiny, kept), **given | change)  # type: ignore[arg-type]


def test_images_of_another_size_than_the_plans_and_a_network_of_another_type_are_refused(tiny: nn.Module) -> None:
    kept = _everything(tiny)
    planned = PruningPlan(kept, channel_graph(tiny).widths(), 0, 0, 0, 0, (3, 32, 32))
    with pytest.raises(DataError, match=r"images of the plan's shape \(3, 32, 32\), got \(3, 8, 8\)"):
        reconstruct(tiny, prune(tiny, kept), planned, torch.zeros(4, 3, 8, 8))
    with pytest.raises(DataError, match="the pruned network cannot take images"):
        reconstruct(tiny, prune(tiny, kept).double(), kept, torch.zeros(4, 3, 8, 8))


def test_a_network_of_another_plan_is_refused_and_one_that_is_broken(tiny: nn.Module) -> None:
    kept = _everything(tiny)
    other = kept | {"conv1": [0, 1]}
    with pytest.raises(PlanError, match=r"conv1: the plan leaves weights of shape \(4, 3, 3, 3\), the network's are"):
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
    kept, images = _everything(plain) | {"first": [0, 1, 3, 4]}, _images(20)
    expected, found = (reconstruct(each, prune(each, kept), kept, images).network for each in (plain, overwriting))
    assert all(torch.equal(tensor, found.state_dict()[name]) for name, tensor in expected.state_dict().items())
    assert function or found.relu.inplace


def test_each_module_stays_in_its_mode(tiny: nn.Module) -> None:
    kept = _everything(tiny) | {"conv1": [0, 1]}
    pruned = prune(tiny, kept).train()
    pruned.block1.bn1.eval()
    network = reconstruct(tiny, pruned, kept, _images(4).float()).network
    assert [name for name, module in network.named_modules() if not module.training] == ["block1.bn1"]


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_the_digits_are_refused(tiny: nn.Module, half: torch.dtype) -> None:
    kept = _everything(tiny) | {"conv1": [0, 1]}
    tiny.to(half)
    with pytest.raises(DataError, match=r"in float32 or float64, got \(4, 3, 8, 8\) of torch\.b?float16"):
        reconstruct(tiny, prune(tiny, kept), kept, _images(4).to(half))


def test_batchnorm_without_statistics_is_refused_and_counts_anew(tiny: nn.Module) -> None:
    kept = _everything(tiny) | {"conv1": [0, 1]}
    tiny.bn1.num_batches_tracked.fill_(1000)
    assert reconstruct(tiny, prune(tiny, kept), kept, _images(4).float()).network.bn1.num_batches_tracked == 0
    tiny.bn1.running_mean = tiny.bn1.running_var = None
    with pytest.raises(ArchitectureError, match=r"bn1: expected BatchNorm2d with running statistics"):
        reconstruct(tiny, prune(tiny, kept), kept, _images(4).float())


@pytest.mark.gpu
def test_a_gpu_gives_the_network_of_a_cpu(tiny: nn.Module) -> None:
    tiny.double()  # whose products no GPU shortens
    kept = _everything(tiny) | {"conv1": [0, 1], "block1.conv2": [1, 3]}
    pruned, images = prune(tiny, kept), _images(12)
    expected = reconstruct(tiny, pruned, kept, images)
    device = torch.device("cuda")
    networks = (copy.deepcopy(each).to(device) for each in (tiny, pruned))
    found = reconstruct(*networks, kept, images.to(device))
    assert next(found.network.parameters()).device.type == device.type
    torch.testing.assert_close(found.network.to("cpu")(images), expected.network(images), rtol=1e-6, atol=1e-6)
    for ours, theirs in zip(found.fits, expected.fits, strict=True):
        assert ours.after == pytest.approx(theirs.after, rel=1e-6, abs=1e-9)


@pytest.mark.gpu
def test_where_nothing_is_pruned_nothing_changes_on_a_gpu(tiny: nn.Module) -> None:
    dense, images = tiny.to("cuda"), _images(40).float().to("cuda")
    found = reconstruct(dense, prune(dense, _everything(dense)), _everything(dense), images)
    assert (found.network(images) - dense(images)).abs().max() < 1e-5


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
