"""A pruned network with plain sums and padded widths: the same answers and the same integers."""

import numpy
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from ehap.engines.deployable import deployable, widen
from ehap.engines.onnxruntime import OnnxNetwork
from ehap.graph.folding import fuse_norms
from ehap.pruning import placements, widened
from ehap.quantization import Packed, unpack
from tests.engines.networks import deployed, pruned_and_packed
from tests.quantization.images import SETTINGS, SHAPE, packed_on_images, random_inputs


@pytest.mark.parametrize("round_to", [1, 16])
def test_wider_integers_with_zeros_compute_the_same(tiny: nn.Module, round_to: int) -> None:
    small, packed = pruned_and_packed(tiny)
    inputs = random_inputs(200)
    with torch.no_grad():
        narrow = unpack(packed, small, SETTINGS, SHAPE)(inputs)
        found = deployable(packed, small, SETTINGS, SHAPE, round_to=round_to)(inputs)
    torch.testing.assert_close(found, narrow, rtol=1e-4, atol=1e-4)


def test_a_wider_network_computes_the_same_in_floating_point(tiny: nn.Module) -> None:
    small, _ = pruned_and_packed(tiny)
    inputs, wide = random_inputs(20), widened(small, 16)
    for network in (wide, fuse_norms(wide)):
        torch.testing.assert_close(network(inputs), small(inputs), rtol=1e-4, atol=1e-4)


def test_without_a_plan_nothing_changes(tiny: nn.Module) -> None:
    packed = packed_on_images(tiny)
    same = widen(packed, placements(tiny))
    assert same.keys() == packed.keys()
    assert all(torch.equal(same[name], packed[name]) for name in packed)


def test_the_file_holds_the_packed_integers(tiny: nn.Module) -> None:
    small, packed = pruned_and_packed(tiny)
    model = onnx.load_from_string(deployed(tiny, packed, 1))
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    places = placements(small)
    assert len(layers) == len(places)
    whole = widen(packed, places)
    left = dict.fromkeys(places)
    for node in layers:
        weight, bias = (values[makers[name].input[0]] for name in node.input[1:3])
        assert (weight.dtype, bias.dtype) == (numpy.int8, numpy.int32)
        same = [
            layer
            for layer in left
            if numpy.array_equal(whole[f"{layer}.weight"], weight) and numpy.array_equal(whole[f"{layer}.bias"], bias)
        ]
        assert len(same) == 1
        del left[same[0]]
    assert not left


def test_biases_far_above_their_step_and_rows_that_died_away_are_no_obstacle(tiny: nn.Module) -> None:
    with torch.no_grad():
        tiny.block1.conv1.weight[1] *= 1e-4
        tiny.block1.bn1.bias[1] = 0.9
    packed = _check_answers(tiny)
    assert packed["block1.conv1.bias"].abs().max() > 10**6


def test_a_bias_beside_dead_weights_leaves_room_for_the_products(tiny: nn.Module) -> None:
    """At the edge of 32 bits an engine's sum of bias and products would wrap around: the channel would flip."""
    with torch.no_grad():
        tiny.bn1.weight[1] = 1e-5
        tiny.bn1.bias[1] = 6.0
    packed = _check_answers(tiny)
    most = packed["conv1.bias"].long().abs() + 255 * packed["conv1.weight"].long().abs().sum((1, 2, 3))
    assert 2**29 < most.max() < 2**31


def _check_answers(model: nn.Module) -> Packed:
    small, packed = pruned_and_packed(model)
    inputs = random_inputs(200)
    with torch.no_grad():
        simulated = unpack(packed, small, SETTINGS, SHAPE)(inputs)
        found = OnnxNetwork(deployed(model, packed, 1))(inputs)
    assert (found - simulated).abs().mean() < 0.005 * simulated.abs().max()
    return packed
