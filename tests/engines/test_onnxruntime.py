"""A packed network in engines: integer kernels, the packed integers, and the answers of the simulation."""

import copy
import time
from pathlib import Path

import numpy
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from ehap.data import normalise
from ehap.engines.inductor import InductorNetwork
from ehap.engines.onnxruntime import (
    OnnxNetwork,
    audit,
    check_declared,
    exported,
    in_integers,
    left_in_float,
    to_onnx,
    widen,
)
from ehap.errors import ArchitectureError, CheckpointError, SettingsError
from ehap.graph.channels import channel_graph
from ehap.graph.layers import layer_weights
from ehap.models import INPUT_SHAPE, build_model
from ehap.pruning import prune
from ehap.pruning.padding import expanded, placements
from ehap.quantization import Packed, calibrate_, pack, prepare_qat, unpack
from ehap.settings import Deploy, Qat
from tests.quantization.images import INFO, SHAPE, random_images

SETTINGS = Qat(epochs=0, learning_rate=0.01, calibration_images=64)


def _kept(model: nn.Module) -> dict[str, list[int]]:
    """A plan whose residual branches carry different channels."""
    kept = {name: list(range(width)) for name, width in channel_graph(model).widths().items()}
    return kept | {"conv1": [0, 1, 3], "block1.conv1": [1, 2], "block1.conv2": [1, 2], "block2.conv2": [0, 2, 3, 5]}


def _packed(model: nn.Module) -> tuple[nn.Module, Packed]:
    small = prune(model, _kept(model)).eval()
    simulated = prepare_qat(small, SETTINGS, SHAPE)
    calibrate_(simulated, random_images(64), INFO, 64, seed=0)
    return small, pack(simulated, small)


def _deployed(model: nn.Module, packed: Packed, round_to: int) -> bytes:
    wide = expanded(model, _kept(model), round_to)
    whole = prune(model, wide).eval()
    network = unpack(widen(packed, placements(model, _kept(model), wide)), whole, SETTINGS, SHAPE)
    return to_onnx(network, SHAPE)


def test_wider_integers_with_zeros_compute_the_same(tiny: nn.Module) -> None:
    small, packed = _packed(tiny)
    inputs = normalise(random_images(200), INFO)
    with torch.no_grad():
        narrow = unpack(packed, small, SETTINGS, SHAPE)(inputs)
        for round_to in (1, 16):
            wide = expanded(tiny, _kept(tiny), round_to)
            whole = prune(tiny, wide).eval()
            found = unpack(widen(packed, placements(tiny, _kept(tiny), wide)), whole, SETTINGS, SHAPE)(inputs)
            torch.testing.assert_close(found, narrow, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("round_to", [1, 16])
def test_onnx_runtime_executes_integers_and_answers_as_the_simulation(tiny: nn.Module, round_to: int) -> None:
    small, packed = _packed(tiny)
    content = _deployed(tiny, packed, round_to)
    operators = audit(content)
    assert left_in_float(operators) == {}
    assert (operators["QLinearConv"], operators["QLinearAdd"], operators["QGemm"]) == (6, 2, 1)
    assert in_integers(operators) == 10  # with the pooling
    inputs = normalise(random_images(500), INFO)
    with torch.no_grad():
        simulated, found = unpack(packed, small, SETTINGS, SHAPE)(inputs), OnnxNetwork(content)(inputs)
    step = (found - simulated).abs().max() / simulated.abs().max()
    assert step < 0.05  # a few roundings of a tie to the other side
    assert (found.argmax(1) == simulated.argmax(1)).double().mean() >= 0.98
    assert (found - simulated).abs().mean() < 0.005 * simulated.abs().max()


def test_a_network_trained_with_live_norms_is_deployed_like_any_other(tiny: nn.Module) -> None:
    small = prune(tiny, _kept(tiny)).eval()
    simulated = prepare_qat(small, Qat(epochs=1, learning_rate=0.01, norms="live"), SHAPE)
    inputs = normalise(random_images(500), INFO)
    for part in inputs.split(50):
        simulated(part)
    packed = pack(simulated, small)
    content = _deployed(tiny, packed, 16)
    operators = audit(content)
    assert left_in_float(operators) == {}
    assert (operators["QLinearConv"], operators["QLinearAdd"], operators["QGemm"]) == (6, 2, 1)
    with torch.no_grad():
        trained, loaded = simulated(inputs), unpack(packed, small, SETTINGS, SHAPE)(inputs)
        found = OnnxNetwork(content)(inputs)
    for one, other in ((trained, loaded), (loaded, found)):
        assert (one - other).abs().max() < 0.05 * other.abs().max()
        assert (one - other).abs().mean() < 0.005 * other.abs().max()
        assert (one.argmax(1) == other.argmax(1)).double().mean() >= 0.98


class _Common(nn.Module):
    """What users' networks have beside ours: other padding, ReLU6, largest values, dropout, means over whole maps."""

    def __init__(self, mean: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5, padding="same", bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.relu1 = nn.ReLU6(inplace=True)
        self.largest = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 6, 3, padding="valid", groups=2)
        self.relu2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, 5)
        self.mean = mean

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.conv2(self.largest(self.relu1(self.bn1(self.conv1(x))))))
        x = x.mean((-1, -2)) if self.mean else torch.flatten(self.pool(x), 1)
        return self.fc(self.drop(x))


@pytest.mark.parametrize("mean", [False, True])
def test_common_parts_of_other_networks_run_as_integers_too(mean: bool) -> None:
    torch.manual_seed(0)
    model, inputs = _Common(mean), normalise(random_images(300), INFO)
    model(inputs)
    simulated = prepare_qat(model.eval(), SETTINGS, SHAPE)
    calibrate_(simulated, random_images(64), INFO, 64, seed=0)
    packed = pack(simulated, model)
    content = to_onnx(unpack(packed, model, SETTINGS, SHAPE), SHAPE)
    operators = audit(content)
    assert left_in_float(operators) == {}
    assert in_integers(operators) == 4  # with the pooling
    with torch.no_grad():
        expected, found = unpack(packed, model, SETTINGS, SHAPE)(inputs), OnnxNetwork(content)(inputs)
        exact = model(inputs)
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
    assert (found.argmax(1) == expected.argmax(1)).double().mean() >= 0.98
    assert (expected - exact).abs().mean() < 0.02 * exact.abs().max()


def test_largest_values_and_relu6_are_the_same_in_both_engines_as_in_the_simulation() -> None:
    torch.manual_seed(0)
    model, inputs = _Common(mean=False), normalise(random_images(300), INFO)
    model(inputs)
    # With 7 bits in weights no processor's kernels saturate: two products are at most 2 · 63 · 255 < 2^15.
    settings = Qat(epochs=0, learning_rate=0.01, calibration_images=64, bits=7, activation_bits=8)
    simulated = prepare_qat(model.eval(), settings, SHAPE)
    calibrate_(simulated, random_images(64), INFO, 64, seed=0)
    packed = pack(simulated, model)
    onnx_runtime = OnnxNetwork(to_onnx(unpack(packed, model, settings, SHAPE), SHAPE))
    inductor = InductorNetwork(unpack(packed, model, settings, SHAPE), inputs)
    assert inductor.integer_operators == 3
    rows = packed["fc.weight"].float().abs().sum(1) * packed["fc.weight_scale"]
    step = rows.max() * packed["activations.scale"][-1]
    with torch.no_grad():
        expected = unpack(packed, model, settings, SHAPE)(inputs)
        for engine in (onnx_runtime, inductor):
            apart = (engine(inputs) - expected).abs().amax(1)
            assert (apart <= step).double().mean() >= 0.95  # a tie may fall to the other side further ahead
            assert apart.max() < 0.05 * expected.abs().max()
            assert apart.mean() < 0.001 * expected.abs().max()
        # The graph for another number of images is audited, too: here it has fewer layers in integers than are wanted.
        inductor.integer_operators = 4
        with pytest.raises(ArchitectureError, match=r"expected 4 convolutions and linear layers .* Inductor, got 3;"):
            inductor(inputs[:7])


@pytest.mark.parametrize("name", ["resnet32", "resnet56", "wrn28_8"])
def test_every_operator_of_the_papers_networks_is_one_of_integers(name: str) -> None:
    dense = build_model(name, 10, seed=0).eval()
    weights = layer_weights(dense)
    thin = {layer: list(range(len(weight) if layer == "fc" else len(weight) // 8)) for layer, weight in weights.items()}
    for network in (dense, prune(dense, thin).eval()):
        simulated = prepare_qat(network, SETTINGS, INPUT_SHAPE)
        calibrate_(simulated, torch.arange(2 * 3 * 32 * 32).reshape(2, *INPUT_SHAPE).to(torch.uint8), INFO, 2, seed=0)
        packed = pack(simulated, network)
        operators = audit(to_onnx(unpack(packed, network, SETTINGS, INPUT_SHAPE), INPUT_SHAPE))
        blocks = sum(isinstance(module, type(dense.layer1[0])) for module in dense.modules())
        assert left_in_float(operators) == {}
        assert operators["QLinearConv"] + operators["QGemm"] == len(weights)
        assert operators["QLinearAdd"] == blocks
        assert in_integers(operators) == len(weights) + blocks + 1  # with the pooling


def test_the_file_holds_the_packed_integers(tiny: nn.Module) -> None:
    _, packed = _packed(tiny)
    model = onnx.load_from_string(_deployed(tiny, packed, 1))
    values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    wide = expanded(tiny, _kept(tiny))
    places = placements(tiny, _kept(tiny), wide)
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
    small, packed = _packed(tiny)
    assert packed["block1.conv1.bias"].abs().max() > 10**6
    inputs = normalise(random_images(200), INFO)
    with torch.no_grad():
        simulated = unpack(packed, small, SETTINGS, SHAPE)(inputs)
        found = OnnxNetwork(_deployed(tiny, packed, 1))(inputs)
    assert (found - simulated).abs().mean() < 0.005 * simulated.abs().max()


def test_a_bias_beside_dead_weights_leaves_room_for_the_products(tiny: nn.Module) -> None:
    """At the edge of 32 bits an engine's sum of bias and products would wrap around: the channel would flip."""
    with torch.no_grad():
        tiny.bn1.weight[1] = 1e-5
        tiny.bn1.bias[1] = 6.0
    small, packed = _packed(tiny)
    most = packed["conv1.bias"].long().abs() + 255 * packed["conv1.weight"].long().abs().sum((1, 2, 3))
    assert 2**29 < most.max() < 2**31
    inputs = normalise(random_images(200), INFO)
    with torch.no_grad():
        simulated = unpack(packed, small, SETTINGS, SHAPE)(inputs)
        found = OnnxNetwork(_deployed(tiny, packed, 1))(inputs)
    assert (found - simulated).abs().mean() < 0.005 * simulated.abs().max()


def test_the_file_holds_no_notes_of_its_making(tiny: nn.Module) -> None:
    model = onnx.load_from_string(_deployed(tiny, _packed(tiny)[1], 1))
    assert not model.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_what_stays_in_floating_point_is_named(tiny: nn.Module, tmp_path: Path) -> None:
    program = torch.onnx.export(copy.deepcopy(tiny), (torch.zeros(1, *SHAPE),), dynamo=True, verbose=False)
    assert program is not None
    program.save(tmp_path / "float.onnx")
    content = (tmp_path / "float.onnx").read_bytes()
    in_float = left_in_float(audit(content))
    assert sum(in_float.values()) >= 7
    assert in_integers(audit(content)) == 0


def test_what_is_no_onnx_file_is_refused(tiny: nn.Module) -> None:
    _, packed = _packed(tiny)
    for content in (b"", b"no network", _deployed(tiny, packed, 1)[:-2000]):
        with pytest.raises(CheckpointError, match="expected an ONNX file that ONNX Runtime can execute"):
            OnnxNetwork(content)


@pytest.mark.parametrize(
    ("operators", "left"),
    [
        ({"QLinearConv": 2, "QuantizeLinear": 1, "DequantizeLinear": 1, "Reshape": 1}, {}),
        ({"QLinearConv": 2, "ScatterElements": 1}, {"ScatterElements": 1}),
        ({"QLinearConv": 2, "QuantizeLinear": 2, "DequantizeLinear": 1}, {"QuantizeLinear": 2}),
        ({"FusedGemm": 1, "Clip": 1, "QGemm": 1}, {"FusedGemm": 1, "Clip": 1}),
    ],
)
def test_the_audit_lets_through_what_it_knows_only(operators: dict[str, int], left: dict[str, int]) -> None:
    assert left_in_float(operators) == left


def test_what_stays_in_floating_point_is_what_is_declared_to() -> None:
    check_declared({}, ())
    check_declared({"Clip": 2, "Softmax": 1}, ("Softmax", "Clip"))
    message = r"stay in floating point: {'Clip': 2}; where that is meant, say deploy.float_operators: \[Clip, Softmax\]"
    with pytest.raises(ArchitectureError, match=message):
        check_declared({"Clip": 2, "Softmax": 1}, ("Softmax",))
    message = (
        r"deploy.float_operators: expected operators that stay in floating point, got Clip, of which there is none"
    )
    with pytest.raises(ArchitectureError, match=message):
        check_declared({"Softmax": 1}, ("Softmax", "Clip"))
    with pytest.raises(SettingsError, match="float_operators: expected each name once"):
        Deploy(float_operators=("Clip", "Clip"))


def test_threads_of_a_session_rest_after_a_call() -> None:
    network = OnnxNetwork(exported(nn.Conv2d(3, 16, 3), SHAPE).SerializeToString(), threads=2)
    busy = []
    for _ in range(3):
        network(torch.randn(64, *SHAPE))
        began = time.process_time()
        time.sleep(0.1)
        busy.append(time.process_time() - began)
    assert (
        min(busy) < 0.01
    )  # spinning, as they do otherwise, a thread is busy for 0.06 s: whatever is timed next has less
