"""Integers and scales of a trained network, and the network that they give back."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ehap.errors import CheckpointError, DataError, NumericsError
from ehap.quantization import called_layers, from_tensors, pack, prepare_qat, to_tensors, unpack
from ehap.quantization.affine import dequantize
from ehap.records import read_tensors, write_tensors
from tests.quantization.images import SHAPE
from tests.quantization.trained import Batch, Norms, observed, scheme, thinned, trained


def test_weights_are_symmetric_per_channel_with_the_folded_norm(tiny: nn.Module, batch: Batch) -> None:
    network = observed(tiny, batch[0])
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
    network = trained(tiny, batch[0])  # no forward pass has seen the weights of the last step yet
    largest = network.graph_module.get_parameter("fc.weight").detach().abs().amax(1)
    assert torch.allclose(pack(network, tiny)["fc.weight_scale"], largest / 127, rtol=1e-6)


def test_packing_and_unpacking_again_is_bit_exact_also_for_a_pruned_network(
    tiny: nn.Module, batch: Batch, tmp_path: Path
) -> None:
    pruned = thinned(tiny)
    network = trained(pruned, batch[0])
    packed = pack(network, pruned)
    blank = thinned(tiny)
    for parameter in blank.parameters():
        nn.init.constant_(parameter, 0.5)
    loaded = unpack(packed, blank, scheme(), SHAPE)
    again = pack(loaded, blank)
    assert packed.keys() == again.keys()
    assert all(torch.equal(packed[name], again[name]) for name in packed)
    bits = dict.fromkeys(called_layers(pruned), 8)
    write_tensors(tmp_path / "packed.safetensors", to_tensors(packed, bits), {})
    read = from_tensors(read_tensors(tmp_path / "packed.safetensors")[0], blank, bits)
    assert torch.equal(unpack(read, blank, scheme(), SHAPE)(batch[0]), loaded(batch[0]))
    assert torch.allclose(loaded(batch[0]), network(batch[0]), atol=0.02 * network(batch[0]).abs().max().item())


def test_a_channel_whose_weights_died_away_keeps_its_bias(tiny: nn.Module, batch: Batch) -> None:
    with torch.no_grad():
        tiny.bn1.weight[1] = 1e-7
        tiny.bn1.bias[1] = 2.0
    network = observed(tiny, batch[0])
    network.eval()
    packed = pack(network, tiny)
    value = packed["conv1.bias"][1] * packed["conv1.weight_scale"][1].double() * packed["activations.scale"][0]
    assert value.item() == pytest.approx(2.0, abs=1e-3)
    loaded = unpack(packed, tiny, scheme(), SHAPE)
    assert torch.allclose(loaded(batch[0]), network(batch[0]), atol=0.02 * network(batch[0]).abs().max().item())


def test_a_network_without_ranges_is_not_packed(tiny: nn.Module, batch: Batch) -> None:
    network = prepare_qat(tiny, scheme(), SHAPE).eval()
    with pytest.raises(DataError, match="no activation ranges yet: before eval, train"):
        network(batch[0])
    with pytest.raises(DataError, match="no activation ranges yet: the network has seen no images"):
        pack(network, tiny)
    network.train()
    network(batch[0])
    assert pack(network, tiny)


@pytest.mark.parametrize("norms", ["frozen", "live"])
def test_a_network_that_broke_down_in_training_is_not_packed(tiny: nn.Module, batch: Batch, norms: Norms) -> None:
    network = trained(tiny, batch[0], norms=norms)
    with torch.no_grad():
        next(part for name, part in network.named_parameters() if "block2" in name and part.dim() == 4).fill_(torch.nan)
    with pytest.raises(NumericsError, match=r"block2\.conv1: expected finite weights to pack, got NaN or Inf"):
        pack(network, tiny)


def test_a_file_of_another_network_is_refused(tiny: nn.Module, batch: Batch) -> None:
    network = observed(tiny, batch[0])
    packed = pack(network, tiny)
    with pytest.raises(CheckpointError, match=r"expected fc.weight of shape \(5, 24\), got none"):
        unpack({name: tensor for name, tensor in packed.items() if name != "fc.weight"}, tiny, scheme(), SHAPE)
    packed["conv1.weight"] = packed["conv1.weight"][:2]
    with pytest.raises(CheckpointError, match=r"expected conv1.weight of shape \(4, 3, 3, 3\), got \(2, 3, 3, 3\)"):
        unpack(packed, tiny, scheme(), SHAPE)


def test_integers_of_other_bits_are_not_unpacked(tiny: nn.Module, batch: Batch) -> None:
    """Settings of 4 bits for integers of 8, or the other way round, would stand for another network."""
    for bits, other in ((8, 4), (8, 7), (4, 8)):
        network = trained(tiny, batch[0], bits=bits)
        with pytest.raises(CheckpointError, match=r"the integers have other bits: .* the scheme that they were packed"):
            unpack(pack(network, tiny), tiny, scheme(bits=other), SHAPE)


def test_weights_too_small_for_any_scale_are_not_packed(tiny: nn.Module, batch: Batch) -> None:
    with torch.no_grad():
        tiny.fc.weight.mul_(1e-7)
    network = prepare_qat(tiny, scheme(), SHAPE)
    with torch.no_grad():
        network(batch[0])
    with pytest.raises(NumericsError, match=r"fc: its weights, BatchNorm folded in, are at most .*, too small"):
        pack(network, tiny)
