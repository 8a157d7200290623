"""Least squares after pruning: exact where pruning loses nothing, the normal equations elsewhere."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ehap.data import CIFAR_SHAPE
from ehap.errors import StoppedError
from ehap.models import build_model
from ehap.pruning import prune
from ehap.repair.reconstruction import reconstruct
from tests.checkpointers import Memory, loaded
from tests.repair.examples import error_of, everything_kept, plain_ridge, random_images

Kept = dict[str, list[int]]


def test_where_nothing_is_pruned_nothing_changes(tiny: nn.Module, enliven: Callable[[nn.Module], None]) -> None:
    images = random_images(40).float()
    found = reconstruct(tiny, prune(tiny, everything_kept(tiny)), everything_kept(tiny), images)
    assert (found.network(images) - tiny(images)).abs().max() < 1e-5
    model = build_model("resnet20", 10, seed=0)
    enliven(model)
    images = torch.randn(8, *CIFAR_SHAPE, generator=torch.Generator().manual_seed(0))
    found = reconstruct(model.eval(), prune(model, everything_kept(model)), everything_kept(model), images)
    assert error_of(found.network, model, images) < 1e-5


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
    kept = everything_kept(model) | {"first": [0, 1, 2, 3, 5]}
    images = random_images(30)
    pruned = prune(model, kept)
    assert error_of(pruned, model, images) > 0.05
    found = reconstruct(model, pruned, kept, images, ridge=1e-6, positions=None)
    assert error_of(found.network, model, images) < 1e-4
    assert error_of(found.network, model, random_images(60)[30:]) < 1e-4  # on others, too


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
    kept = everything_kept(model) | {"block1.conv1": [0, 1, 2], "conv1": [0, 1, 3], "block1.conv2": [0, 1, 3]}
    images = random_images(40)
    pruned = prune(model, kept)
    assert error_of(pruned, model, images) > 0.05
    found = reconstruct(model, pruned, kept, images, ridge=1e-6)
    assert error_of(found.network, model, images) < 1e-4
    worse = kept | {"block1.conv2": [1, 2, 3]}  # the writers keep different ones: each repairs what it can reach
    found = reconstruct(model, prune(model, worse), worse, images, ridge=1e-6)
    assert error_of(found.network, model, images) < 0.5 * error_of(prune(model, worse), model, images)


def test_dead_channels_and_dead_inputs_do_no_harm(tiny: nn.Module) -> None:
    model = tiny.double()
    with torch.no_grad():
        model.bn1.weight[1] = model.bn1.bias[1] = 0  # an input of block1 that is always zero
        model.block1.conv1.weight[2] = 0  # a row of zeros
        model.block2.bn1.weight[:] = model.block2.bn1.bias[:] = 0  # a layer with no input but zeros behind it
    kept = everything_kept(model) | {"block1.conv1": [0, 2, 3]}
    images = random_images(20)
    found = reconstruct(model, prune(model, kept), kept, images)
    assert all(tensor.isfinite().all() for tensor in found.network.state_dict().values())
    assert error_of(found.network, model, images) < error_of(prune(model, kept), model, images)


def test_layers_are_the_ridge_solutions_of_the_formula(tiny: nn.Module) -> None:
    model, images, ridge = tiny.double(), random_images(25), 0.03
    kept = everything_kept(model) | {"conv1": [0, 2], "block1.conv1": [1, 2]}
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
    expected = rows @ plain_ridge(rows, wanted, trained, ridge)
    result = network.block1.bn1(network.block1.conv1(inputs)).permute(0, 2, 3, 1).reshape(-1, 2)
    torch.testing.assert_close(result, expected, rtol=1e-8, atol=1e-8)
    fit = next(each for each in found.fits if each.layer == "block1.conv1")
    assert (fit.unknowns, fit.equations) == (19, 25 * 64)
    assert fit.after == pytest.approx(((expected - wanted).square().sum() / wanted.square().sum()).item(), rel=1e-8)


def test_the_last_writer_of_a_sum_aims_at_what_the_stream_lacks(tiny: nn.Module) -> None:
    model, images = tiny.double(), random_images(25)
    kept = everything_kept(model) | {"conv1": [0, 1, 3]}  # channel 2 of the stream is left to block1.conv2 alone
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
    kept = everything_kept(tiny) | {"conv1": [0, 1]}
    found = reconstruct(tiny, prune(tiny, kept), kept, random_images(10).float())
    order = [fit.layer for fit in found.fits]
    assert order.index("block2.downsample.0") < order.index("block2.conv2")
    assert set(order) == set(kept)


def test_rows_keep_their_norms_and_batchnorm_has_the_statistics_of_the_images(tiny: nn.Module) -> None:
    kept = everything_kept(tiny) | {"conv1": [0, 2], "block1.conv1": [0, 1, 3]}
    images = random_images(30).float()
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


def test_fewer_equations_than_unknowns_are_seen_and_stay_near_the_trained_weights(tiny: nn.Module) -> None:
    kept = everything_kept(tiny) | {"conv1": [0, 1, 2]}
    found = reconstruct(tiny, prune(tiny, kept), kept, random_images(2).float(), ridge=1e6, held_out=0)
    few = {fit.layer for fit in found.fits if fit.equations < fit.unknowns}
    assert few == {"block2.conv1", "block2.conv2", "fc"}
    last = found.fits[-1]
    assert (last.layer, last.unknowns, last.equations) == ("fc", 25, 2)
    assert {fit.images for fit in found.fits} == {2}  # of which many positions give equations
    assert 0 < last.after < last.before  # the bias is not pulled
    torch.testing.assert_close(found.network.fc.weight, tiny.fc.weight, rtol=1e-3, atol=1e-4)


def test_positions_are_drawn_by_the_seed_and_networks_stay_as_they_are(tiny: nn.Module) -> None:
    kept = everything_kept(tiny) | {"conv1": [0, 1]}
    pruned, images = prune(tiny.train(), kept), random_images(12).float()
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
    kept, images = everything_kept(tiny) | {"conv1": [0, 1]}, random_images(12).float()
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
        for name, width in everything_kept(model).items()
        for width in [len(everything_kept(model)[name])]
    }
    images = torch.randn(8, *CIFAR_SHAPE, generator=generator)
    found = reconstruct(model, prune(model, kept), kept, images).network
    loaded = prune(model, kept)
    loaded.load_state_dict(found.state_dict())
    assert torch.equal(loaded.eval()(images), found(images))
    exported = torch.export.export(found, (images,))
    torch.testing.assert_close(exported.module()(images), found(images))


@pytest.mark.gpu
def test_a_gpu_gives_the_network_of_a_cpu(tiny: nn.Module) -> None:
    tiny.double()  # whose products no GPU shortens
    kept = everything_kept(tiny) | {"conv1": [0, 1], "block1.conv2": [1, 3]}
    pruned, images = prune(tiny, kept), random_images(12)
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
    dense, images = tiny.to("cuda"), random_images(40).float().to("cuda")
    found = reconstruct(dense, prune(dense, everything_kept(dense)), everything_kept(dense), images)
    assert (found.network(images) - dense(images)).abs().max() < 1e-5
