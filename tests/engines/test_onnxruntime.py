"""A packed network in ONNX Runtime and Inductor: integer kernels, and the answers of the simulation."""

import time

import onnx
import pytest
import torch
from torch import Tensor, nn

from ehap.data import CIFAR_SHAPE
from ehap.engines.inductor import InductorNetwork
from ehap.engines.onnxruntime import OnnxNetwork, audit, exported, in_integers, left_in_float, to_onnx
from ehap.errors import ArchitectureError, CheckpointError
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.pruning import prune
from ehap.quantization import calibrate_, pack, prepare_qat, unpack
from ehap.settings import Scheme
from tests.engines.networks import deployed, kept, pruned_and_packed
from tests.quantization.images import INFO, SETTINGS, SHAPE, packed_on_images, random_inputs


@pytest.mark.parametrize("round_to", [1, 16])
def test_onnx_runtime_executes_integers_and_answers_as_the_simulation(tiny: nn.Module, round_to: int) -> None:
    small, packed = pruned_and_packed(tiny)
    content = deployed(tiny, packed, round_to)
    operators = audit(content)
    assert left_in_float(operators) == {}
    assert (operators["QLinearConv"], operators["QLinearAdd"], operators["QGemm"]) == (6, 2, 1)
    assert in_integers(operators) == 10  # with the pooling
    inputs = random_inputs(500)
    with torch.no_grad():
        simulated, found = unpack(packed, small, SETTINGS, SHAPE)(inputs), OnnxNetwork(content)(inputs)
    step = (found - simulated).abs().max() / simulated.abs().max()
    assert step < 0.05  # a few roundings of a tie to the other side
    assert (found.argmax(1) == simulated.argmax(1)).double().mean() >= 0.98
    assert (found - simulated).abs().mean() < 0.005 * simulated.abs().max()


def test_a_network_trained_with_live_norms_is_deployed_like_any_other(tiny: nn.Module) -> None:
    small = prune(tiny, kept(tiny)).eval()
    simulated = prepare_qat(small, Scheme(norms="live"), SHAPE)
    inputs = random_inputs(500)
    for part in inputs.split(50):
        simulated(part)
    packed = pack(simulated, small)
    content = deployed(tiny, packed, 16)
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
    model, inputs = _Common(mean), random_inputs(300)
    model(inputs)
    packed = packed_on_images(model.eval())
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
    model, inputs = _Common(mean=False), random_inputs(300)
    model(inputs)
    # With 7 bits in weights no processor's kernels saturate: two products are at most 2 · 63 · 255 < 2^15.
    settings = Scheme(bits=7, activation_bits=8)
    packed = packed_on_images(model.eval(), settings)
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
        simulated = prepare_qat(network, SETTINGS, CIFAR_SHAPE)
        calibrate_(simulated, torch.arange(2 * 3 * 32 * 32).reshape(2, *CIFAR_SHAPE).to(torch.uint8), INFO, 2, seed=0)
        packed = pack(simulated, network)
        operators = audit(to_onnx(unpack(packed, network, SETTINGS, CIFAR_SHAPE), CIFAR_SHAPE))
        blocks = sum(isinstance(module, type(dense.layer1[0])) for module in dense.modules())
        assert left_in_float(operators) == {}
        assert operators["QLinearConv"] + operators["QGemm"] == len(weights)
        assert operators["QLinearAdd"] == blocks
        assert in_integers(operators) == len(weights) + blocks + 1  # with the pooling


def test_the_file_holds_no_notes_of_its_making(tiny: nn.Module) -> None:
    model = onnx.load_from_string(deployed(tiny, pruned_and_packed(tiny)[1], 1))
    assert not model.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_what_is_no_onnx_file_is_refused(tiny: nn.Module) -> None:
    _, packed = pruned_and_packed(tiny)
    for content in (b"", b"no network", deployed(tiny, packed, 1)[:-2000]):
        with pytest.raises(CheckpointError, match="expected an ONNX file that ONNX Runtime can execute"):
            OnnxNetwork(content)


def test_threads_of_a_session_rest_after_a_call() -> None:
    network = OnnxNetwork(exported(nn.Conv2d(3, 16, 3), SHAPE).SerializeToString(), threads=2)
    busy = []
    for _ in range(3):
        network(torch.randn(64, *SHAPE))
        began = time.process_time()
        time.sleep(0.1)
        busy.append(time.process_time() - began)
    assert min(busy) < 0.01  # a thread that spins is busy for 0.06 s, and slows down the next call to be timed
