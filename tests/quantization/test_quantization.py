"""Simulated quantization against integer arithmetic written out by hand."""

import copy
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d

from ehap.errors import CheckpointError, DataError, NumericsError
from ehap.graph.channels import channel_graph
from ehap.graph.folding import fold_norms, fuse_norms
from ehap.pruning import prune
from ehap.quantization import SimulatedNetwork, called_layers, from_tensors, pack, prepare_qat, to_tensors, unpack
from ehap.quantization.affine import dequantize, quantize
from ehap.records import read_tensors, write_tensors
from ehap.settings import Qat

Batch = tuple[Tensor, Tensor]
SHAPE = (3, 8, 8)


def _settings(bits: int = 8, norms: Literal["frozen", "live"] = "frozen") -> Qat:
    return Qat(epochs=1, learning_rate=0.01, bits=bits, norms=norms)


def _trained(
    model: nn.Module, images: Tensor, bits: int = 8, norms: Literal["frozen", "live"] = "frozen"
) -> SimulatedNetwork:
    """A simulated network after a few real steps, so that ranges and weights have moved."""
    network = prepare_qat(model, _settings(bits, norms), SHAPE)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()
    return network.eval()


def test_quantize_and_dequantize_are_equations_9_and_10() -> None:
    scale, zero = torch.tensor(0.5), 3
    values = torch.tensor([-10.0, -1.5, -0.26, 0.0, 0.24, 0.26, 100.0])
    integers = quantize(values, scale, zero, 0, 15)
    assert integers.tolist() == [0, 0, 2, 3, 3, 4, 15]
    assert dequantize(integers, scale, zero).tolist() == [-1.5, -1.5, -0.5, 0.0, 0.0, 0.5, 6.0]


def test_folding_keeps_the_outputs_of_eval_mode(tiny: nn.Module, batch: Batch) -> None:
    expected = tiny(batch[0])
    for merge in (fold_norms, fuse_norms):
        assert torch.allclose(merge(tiny)(batch[0]), expected, atol=1e-5)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in merge(tiny).modules())
    fuse_norms(tiny.train())
    assert tiny.training


def test_the_packed_network_is_integer_arithmetic(batch: Batch) -> None:
    """Input → convolution + BatchNorm → ReLU → pool → linear, computed in int64 from the packed file alone."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(4, 5)
    )
    model(batch[0] * 2)
    packed = pack(_trained(model.eval(), batch[0]), model)
    network = unpack(packed, model, _settings(), SHAPE)

    scales, zeros = packed["activations.scale"].double(), packed["activations.zero_point"].long()
    assert len(scales) == 3  # input, ReLU, pool
    assert (zeros[0], zeros[1]) == (128, 0)
    pixels = quantize(batch[0].double(), scales[0], zeros[0], 0, 255)
    assert packed["0.weight"].dtype == torch.int8
    assert packed["0.bias"].dtype == torch.int32
    sums = conv2d((pixels - zeros[0]).double(), packed["0.weight"].double()) + packed["0.bias"].view(1, -1, 1, 1)
    step = (packed["0.weight_scale"].double() * scales[0]).view(1, -1, 1, 1)
    active = quantize((sums * step).clamp(min=0), scales[1], zeros[1], 0, 255)
    mean = dequantize(active.double(), scales[1], zeros[1]).double().mean((2, 3))
    pooled = quantize(mean, scales[2], zeros[2], 0, 255) - zeros[2]
    logits = (pooled.double() @ packed["5.weight"].double().T + packed["5.bias"]) * packed["5.weight_scale"] * scales[2]

    assert torch.allclose(network(batch[0]).double(), logits, atol=1e-4)


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.pool, self.fc = nn.AvgPool2d(6), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = (self.bn2(self.conv2(x)) + x).relu()
        return self.fc(self.pool(x).flatten(1))


def test_a_residual_sum_adds_integers_of_two_scales(batch: Batch) -> None:
    """The same with a sum, whose two sides and whose result have a scale each."""
    torch.manual_seed(0)
    model = _Residual()
    model(batch[0] * 2)
    packed = pack(_trained(model.eval(), batch[0]), model)
    network = unpack(packed, model, _settings(), SHAPE)

    scales, zeros = packed["activations.scale"].double(), packed["activations.zero_point"].long()
    assert len(scales) == 5  # input, ReLU, second convolution, sum, pool
    assert (zeros[1], zeros[3]) == (0, 0)
    assert 0 < zeros[2] < 255  # of both signs

    def sums(layer: str, integers: Tensor, before: int, padding: int) -> Tensor:
        centred = (integers - zeros[before]).double()
        found = conv2d(centred, packed[f"{layer}.weight"].double(), padding=padding)
        step = packed[f"{layer}.weight_scale"].double() * scales[before]
        return (found + packed[f"{layer}.bias"].view(1, -1, 1, 1)) * step.view(1, -1, 1, 1)

    pixels = quantize(batch[0].double(), scales[0], zeros[0], 0, 255)
    first = quantize(sums("conv1", pixels, 0, 0).clamp(min=0), scales[1], zeros[1], 0, 255)
    second = quantize(sums("conv2", first, 1, 1), scales[2], zeros[2], 0, 255)
    both = dequantize(first.double(), scales[1], zeros[1]) + dequantize(second.double(), scales[2], zeros[2])
    added = quantize(both.double().clamp(min=0), scales[3], zeros[3], 0, 255)
    mean = dequantize(added.double(), scales[3], zeros[3]).double().mean((2, 3))
    pooled = quantize(mean, scales[4], zeros[4], 0, 255) - zeros[4]
    logits = (pooled.double() @ packed["fc.weight"].double().T + packed["fc.bias"]) * packed["fc.weight_scale"]

    # A tie of the rounding in float32 may move one integer of the map, and with it the mean by a step.
    apart = (network(batch[0]).double() - logits * scales[4]).abs().amax(1)
    step = packed["fc.weight"].double().abs().amax() * packed["fc.weight_scale"].max() * scales[4]
    assert (apart < 1e-4).double().mean() >= 0.8
    assert apart.max() <= 2 * step


def test_weights_are_symmetric_per_channel_with_the_folded_norm(tiny: nn.Module, batch: Batch) -> None:
    network = prepare_qat(tiny, _settings(), SHAPE)
    network(batch[0])
    packed = pack(network, tiny)
    factor = tiny.bn1.weight / torch.sqrt(tiny.bn1.running_var + tiny.bn1.eps)
    folded = tiny.conv1.weight * factor.view(-1, 1, 1, 1)
    largest = folded.flatten(1).abs().amax(1)
    assert torch.allclose(packed["conv1.weight_scale"], largest / 127)
    assert packed["conv1.weight"].flatten(1).abs().amax(1).tolist() == [127] * 4
    assert (
        dequantize(packed["conv1.weight"], (largest / 127).view(-1, 1, 1, 1)) - folded
    ).abs().max() < largest.max() / 250


def test_the_packed_range_is_that_of_the_weights_after_the_last_step(tiny: nn.Module, batch: Batch) -> None:
    network = _trained(tiny, batch[0])  # no forward pass has seen the weights of the last step yet
    largest = network.graph_module.get_parameter("fc.weight").detach().abs().amax(1)
    assert torch.allclose(pack(network, tiny)["fc.weight_scale"], largest / 127, rtol=1e-6)


def test_packing_and_unpacking_again_is_bit_exact_also_for_a_pruned_network(
    tiny: nn.Module, batch: Batch, tmp_path: Path
) -> None:
    kept = {name: list(range(width)) for name, width in channel_graph(tiny).layers().items()}
    kept |= {"conv1": [0, 2], "block1.conv2": [1, 2], "block2.conv2": [0], "block2.downsample.0": [3, 4]}
    pruned = prune(tiny, kept)
    network = _trained(pruned, batch[0])
    packed = pack(network, pruned)
    blank = prune(copy.deepcopy(tiny), kept)
    for parameter in blank.parameters():
        nn.init.constant_(parameter, 0.5)
    loaded = unpack(packed, blank, _settings(), SHAPE)
    again = pack(loaded, blank)
    assert packed.keys() == again.keys()
    assert all(torch.equal(packed[name], again[name]) for name in packed)
    bits = dict.fromkeys(called_layers(pruned), 8)
    write_tensors(tmp_path / "packed.safetensors", to_tensors(packed, bits), {})
    read = from_tensors(read_tensors(tmp_path / "packed.safetensors")[0], blank, bits)
    assert torch.equal(unpack(read, blank, _settings(), SHAPE)(batch[0]), loaded(batch[0]))
    assert torch.allclose(loaded(batch[0]), network(batch[0]), atol=0.02 * network(batch[0]).abs().max().item())


def test_ranges_move_in_training_only_first_as_means_then_by_the_momentum(tiny: nn.Module, batch: Batch) -> None:
    network = prepare_qat(tiny, _settings(), SHAPE)
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
    network = prepare_qat(tiny.train(), _settings(), SHAPE)
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
    network = prepare_qat(model, _settings(norms="live"), SHAPE)
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
    kept = {name: list(range(width)) for name, width in channel_graph(tiny).layers().items()}
    kept |= {"conv1": [0, 2], "block1.conv2": [1, 2], "block2.conv2": [0], "block2.downsample.0": [3, 4]}
    pruned = prune(tiny, kept)
    frozen, live = (_trained(pruned, batch[0], norms=norms) for norms in ("frozen", "live"))
    packed, usual = pack(live, pruned), pack(frozen, pruned)
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in packed.items()} == {
        name: (tensor.dtype, tensor.shape) for name, tensor in usual.items()
    }
    loaded = unpack(packed, prune(copy.deepcopy(tiny), kept), _settings(norms="live"), SHAPE)
    expected = live(batch[0])
    assert torch.allclose(loaded(batch[0]), expected, atol=0.02 * expected.abs().max().item())
    assert not torch.allclose(frozen(batch[0]), expected, atol=0.1 * expected.abs().max().item())


def test_both_inputs_of_every_add_are_quantized(tiny: nn.Module, batch: Batch) -> None:
    graph = prepare_qat(tiny, _settings(), SHAPE).graph_module
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
    network = prepare_qat(tiny, _settings(bits), SHAPE)
    network(batch[0])
    network.eval()
    difference = (network(batch[0]) - tiny(batch[0])).abs().max() / tiny(batch[0]).abs().max()
    assert error / 40 < difference < error
    weights = pack(network, tiny)["block1.conv1.weight"]
    assert weights.abs().max() == 2 ** (bits - 1) - 1


def test_a_channel_whose_weights_died_away_keeps_its_bias(tiny: nn.Module, batch: Batch) -> None:
    with torch.no_grad():
        tiny.bn1.weight[1] = 1e-7
        tiny.bn1.bias[1] = 2.0
    network = prepare_qat(tiny, _settings(), SHAPE)
    network(batch[0])
    network.eval()
    packed = pack(network, tiny)
    value = packed["conv1.bias"][1] * packed["conv1.weight_scale"][1].double() * packed["activations.scale"][0]
    assert value.item() == pytest.approx(2.0, abs=1e-3)
    loaded = unpack(packed, tiny, _settings(), SHAPE)
    assert torch.allclose(loaded(batch[0]), network(batch[0]), atol=0.02 * network(batch[0]).abs().max().item())


def test_a_network_without_ranges_is_not_packed(tiny: nn.Module, batch: Batch) -> None:
    network = prepare_qat(tiny, _settings(), SHAPE).eval()
    with pytest.raises(DataError, match="no activation ranges yet: before eval, train"):
        network(batch[0])
    with pytest.raises(DataError, match="no activation ranges yet: the network has seen no images"):
        pack(network, tiny)
    network.train()
    network(batch[0])
    assert pack(network, tiny)


@pytest.mark.parametrize("norms", ["frozen", "live"])
def test_a_network_that_broke_down_in_training_is_not_packed(
    tiny: nn.Module, batch: Batch, norms: Literal["frozen", "live"]
) -> None:
    network = _trained(tiny, batch[0], norms=norms)
    with torch.no_grad():
        next(part for name, part in network.named_parameters() if "block2" in name and part.dim() == 4).fill_(torch.nan)
    with pytest.raises(NumericsError, match=r"block2\.conv1: expected finite weights to pack, got NaN or Inf"):
        pack(network, tiny)


def test_a_file_of_another_network_is_refused(tiny: nn.Module, batch: Batch) -> None:
    network = prepare_qat(tiny, _settings(), SHAPE)
    network(batch[0])
    packed = pack(network, tiny)
    with pytest.raises(CheckpointError, match=r"expected fc.weight of shape \(5, 24\), got none"):
        unpack({name: tensor for name, tensor in packed.items() if name != "fc.weight"}, tiny, _settings(), SHAPE)
    packed["conv1.weight"] = packed["conv1.weight"][:2]
    with pytest.raises(CheckpointError, match=r"expected conv1.weight of shape \(4, 3, 3, 3\), got \(2, 3, 3, 3\)"):
        unpack(packed, tiny, _settings(), SHAPE)


def test_integers_of_other_bits_are_not_unpacked(tiny: nn.Module, batch: Batch) -> None:
    """Settings of 4 bits for integers of 8, or the other way round, would stand for another network."""
    for bits, other in ((8, 4), (8, 7), (4, 8)):
        network = _trained(tiny, batch[0], bits=bits)
        with pytest.raises(
            CheckpointError, match=r"the integers have other bits: .* the settings that they were packed"
        ):
            unpack(pack(network, tiny), tiny, _settings(bits=other), SHAPE)


def test_weights_too_small_for_any_scale_are_not_packed(tiny: nn.Module, batch: Batch) -> None:
    with torch.no_grad():
        tiny.fc.weight.mul_(1e-7)
    network = prepare_qat(tiny, _settings(), SHAPE)
    with torch.no_grad():
        network(batch[0])
    with pytest.raises(NumericsError, match=r"fc: its weights, BatchNorm folded in, are at most .*, too small"):
        pack(network, tiny)


def test_autocast_changes_no_simulation(tiny: nn.Module, batch: Batch) -> None:
    network = _trained(tiny, batch[0]).eval()
    with torch.no_grad():
        wanted = network(batch[0])
        with torch.autocast("cpu", torch.bfloat16):
            assert network(batch[0]).equal(wanted)
