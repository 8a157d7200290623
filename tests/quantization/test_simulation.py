"""The simulated network in training and in evaluation."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d

from ehap.graph.folding import fold_norms, fuse_norms
from ehap.quantization import SimulatedNetwork, called_layers, pack, prepare_qat, unpack
from tests.quantization.images import SHAPE
from tests.quantization.trained import Batch, observed, scheme, thinned, trained


def test_folding_keeps_the_outputs_of_eval_mode(tiny: nn.Module, batch: Batch) -> None:
    expected = tiny(batch[0])
    for merge in (fold_norms, fuse_norms):
        assert torch.allclose(merge(tiny)(batch[0]), expected, atol=1e-5)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in merge(tiny).modules())
    fuse_norms(tiny.train())
    assert tiny.training


def test_ranges_move_in_training_only_first_as_means_then_by_the_momentum(tiny: nn.Module, batch: Batch) -> None:
    network = prepare_qat(tiny, scheme(), SHAPE)
    observer = network.activation_quantizers()[0].activation_post_process
    largest = batch[0].max().item()
    for factor, mean in ((1, 1), (3, 2), (8, 4)):  # the n-th batch has the share 1/n
        network(batch[0] * factor)
        assert observer.max_val.item() == pytest.approx(mean * largest, rel=1e-5)
    for _ in range(97):
        network(batch[0] * 4)
    before = observer.max_val.item()
    network(batch[0] * 104)  # of a hundred batches before it each has as much
    assert observer.max_val.item() == pytest.approx(before + 0.01 * (104 * largest - before), rel=1e-4)
    before = observer.max_val.clone()
    network.eval()
    network(batch[0] * 100)
    assert observer.max_val == before
    network.train()
    network(batch[0] * 1000)
    assert observer.max_val > before


def test_norm_statistics_are_frozen_and_all_parameters_train(tiny: nn.Module, batch: Batch) -> None:
    network = prepare_qat(tiny.train(), scheme(), SHAPE)
    buffers = {name: tensor.clone() for name, tensor in network.named_buffers() if "mean" in name or "variance" in name}
    network(batch[0]).sum().backward()
    assert buffers
    assert all(torch.equal(tensor, buffers[name]) for name, tensor in network.named_buffers() if name in buffers)
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_live_norms_are_those_of_the_batch_behind_rounded_weights(batch: Batch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=1e-3, momentum=0.2), nn.ReLU()).eval()
    images = torch.round(batch[0] * 20).clamp(-127, 127)
    images[0, 0, 0, 0] = 127  # the input's step is 1: it loses nothing
    network = prepare_qat(model, scheme(norms="live"), SHAPE)
    conv, mean, variance = model[0], torch.zeros(4), torch.ones(4)
    scale = (conv.weight.flatten(1).abs().amax(1) / 127).view(-1, 1, 1, 1)
    sums = conv2d(images, torch.round(conv.weight / scale) * scale, conv.bias)
    exact = batch_norm(sums, mean, variance, training=True, momentum=0.2, eps=1e-3).relu()
    found = network(images)
    assert (found - exact).abs().max() < 0.51 * exact.max() / 255
    norm = next(module for module in network.graph_module.modules() if isinstance(module, nn.BatchNorm2d))
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    still = network(images)
    torch.testing.assert_close(norm.running_mean, mean)
    expected = batch_norm(sums, mean, variance, eps=1e-3).relu()
    assert (still - expected.clamp(max=exact.max().item())).abs().max() < 0.51 * exact.max() / 255
    assert model[1].running_mean.eq(0).all()


def test_live_norms_are_folded_into_the_same_file_and_it_answers_as_the_simulation(
    tiny: nn.Module, batch: Batch
) -> None:
    pruned = thinned(tiny)
    frozen, live = (trained(pruned, batch[0], norms=norms) for norms in ("frozen", "live"))
    packed, usual = pack(live, pruned), pack(frozen, pruned)
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in packed.items()} == {
        name: (tensor.dtype, tensor.shape) for name, tensor in usual.items()
    }
    loaded = unpack(packed, thinned(tiny), scheme(norms="live"), SHAPE)
    expected = live(batch[0])
    assert torch.allclose(loaded(batch[0]), expected, atol=0.02 * expected.abs().max().item())
    assert not torch.allclose(frozen(batch[0]), expected, atol=0.1 * expected.abs().max().item())


def test_both_inputs_of_every_add_are_quantized(tiny: nn.Module, batch: Batch) -> None:
    graph = prepare_qat(tiny, scheme(), SHAPE).graph_module
    adds = [
        node
        for node in graph.graph.nodes
        if node.target is torch.ops.aten.add.Tensor and len(node.all_input_nodes) == 2
    ]
    assert len(adds) == 2
    for add in adds:
        assert all("activation_post_process" in source.name for source in add.all_input_nodes), add.all_input_nodes


@pytest.mark.parametrize(("bits", "error"), [(8, 0.08), (4, 1.0)])
def test_fewer_bits_give_a_coarser_network(tiny: nn.Module, batch: Batch, bits: int, error: float) -> None:
    network = observed(tiny, batch[0], bits)
    network.eval()
    difference = (network(batch[0]) - tiny(batch[0])).abs().max() / tiny(batch[0]).abs().max()
    assert error / 40 < difference < error
    weights = pack(network, tiny)["block1.conv1.weight"]
    assert weights.abs().max() == 2 ** (bits - 1) - 1


def test_autocast_changes_no_simulation(tiny: nn.Module, batch: Batch) -> None:
    network = trained(tiny, batch[0]).eval()
    with torch.no_grad():
        wanted = network(batch[0])
        with torch.autocast("cpu", torch.bfloat16):
            assert network(batch[0]).equal(wanted)


def _prepared(tiny: nn.Module, images: Tensor, bits: dict[str, int] | None) -> SimulatedNetwork:
    network = prepare_qat(tiny, scheme(), SHAPE, bits)
    network(images)
    return network


def _unpacked(tiny: nn.Module, images: Tensor, bits: dict[str, int] | None) -> SimulatedNetwork:
    return unpack(pack(_prepared(tiny, images, bits), tiny), tiny, scheme(), SHAPE, bits)


@pytest.mark.parametrize("make", [_prepared, _unpacked])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_network_knows_what_it_was_prepared_from_and_so_do_its_copies(
    tiny: nn.Module, batch: Batch, make: Callable[..., SimulatedNetwork], mixed: bool
) -> None:
    bits = {name: 4 if name == "fc" else 8 for name in called_layers(tiny)} if mixed else None
    expected = tiny(batch[0])
    network = make(tiny, batch[0], bits)
    with torch.no_grad():
        for parameter in tiny.parameters():
            parameter.zero_()  # the network keeps a copy
    for each in (network, copy.deepcopy(network)):
        assert (each.scheme, each.input_shape, each.layer_bits) == (scheme(), SHAPE, bits)
        assert torch.equal(each.original(batch[0]), expected)
        assert type(each.original) is type(tiny)
        assert not any("original" in name for name, _ in each.named_modules())
        assert torch.equal(next(iter(pack(each, each.original).values())), next(iter(pack(network, tiny).values())))
