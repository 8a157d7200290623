"""quantize and prepare_qat: the integers of the workflow, and a network for a training loop of one's own."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ehap.artifacts.dense import architecture, save_model
from ehap.data import DATASETS, normalise
from ehap.engines.onnxruntime.engine import OnnxRuntime
from ehap.errors import ArchitectureError, ArgumentError, DataError, EhapError, NumericsError, SettingsError
from ehap.graph.layers import layer_weights
from ehap.interface.quantization import prepare_qat, quantize
from ehap.models import build_model
from ehap.pruning import prune
from ehap.quantization import called_layers, from_tensors, pack, to_tensors, unpack
from ehap.records import Identity, read_tensors
from ehap.settings import Qat, Scheme
from ehap.stages import qat
from tests.conftest import enliven_
from tests.jobs import job_of, write_images
from tests.quantization.images import random_inputs
from tests.quantization.trained import Batch, thinned

CELL = Identity(stage="qat", dataset="digits", model="resnet20", seed=0, method="half", scheme="ptq")
CALIBRATED, OF_HESSIAN = 72, 16  # a second batch of 8 images


@pytest.mark.parametrize("mixed", [False, True])
def test_the_integers_are_those_of_the_qat_stage_bit_for_bit(tmp_path: Path, mixed: bool) -> None:
    write_images(tmp_path / "data", CALIBRATED, 20)
    dense = build_model("resnet20", 10, seed=0).eval()
    enliven_(dense)
    kept = {
        name: list(range(0, len(weight), 2 if "conv" in name else 1)) for name, weight in layer_weights(dense).items()
    }
    network = prune(dense, kept).eval()
    save_model(tmp_path / "checkpoint", network, architecture(CELL, kept))
    mix = {"mix": (4, 8), "size": 0.7} if mixed else {}
    settings = Qat(epochs=0, learning_rate=0.1, calibration_images=CALIBRATED, hessian_images=CALIBRATED, **mix)
    qat.run(job_of(tmp_path, settings, CELL, "data checkpoint", "weights history record"))
    expected, metadata = read_tensors(tmp_path / "weights")

    pixels = read_tensors(tmp_path / "data")[0]["train_images"]
    order = torch.randperm(CALIBRATED, generator=torch.Generator().manual_seed(CELL.seed))
    images = normalise(pixels, DATASETS["digits"])[order]
    before = copy.deepcopy(network.state_dict())
    found = quantize(network, Scheme(**mix), images)
    assert not found.training
    assert found.layer_bits == metadata.get("layer_bits")
    bits = found.layer_bits or dict.fromkeys(called_layers(network), 8)
    tensors = to_tensors(pack(found, network), bits)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors.items())
    shape = DATASETS["digits"].input_shape
    of_file = unpack(from_tensors(expected, network, bits), network, settings, shape, found.layer_bits)
    assert torch.equal(found(images), of_file(images))
    assert found.reading is not None
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not network.training


def test_batches_with_labels_give_the_integers_of_one_tensor(tiny: nn.Module) -> None:
    images = random_inputs(100)
    pairs = [(part, torch.zeros(len(part), dtype=torch.int64)) for part in images.split(30)]
    one, other = (pack(quantize(tiny, Scheme(bits=6), each), tiny) for each in (images, pairs))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_images_of_any_size_and_number_of_channels() -> None:
    network = nn.Sequential(nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 4, 3)).eval()
    images = torch.randn(20, 5, 9, 6, generator=torch.Generator().manual_seed(0))
    found = quantize(network, Scheme(), images)
    assert found.input_shape == (5, 9, 6)
    assert (found(images) - network(images)).norm() < 0.02 * network(images).norm()


def test_more_than_512_images_choose_the_bits_by_evenly_spaced_ones(
    tiny: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ehap.interface.quantization as module

    seen = []
    scores = module.channel_scores
    monkeypatch.setattr(module, "OF_TRACES", 5)
    monkeypatch.setattr(
        module, "channel_scores", lambda folded, shown, *rest: seen.append(shown) or scores(folded, shown, *rest)
    )
    images = random_inputs(9)
    quantize(tiny, Scheme(mix=(4, 8), size=0.7), images)
    assert torch.equal(seen[0], images[::2])


@pytest.mark.parametrize("norms", ["frozen", "live"])
def test_a_loop_of_ones_own_trains_a_prepared_network_that_is_exported_afterwards(
    tiny: nn.Module, batch: Batch, norms: str
) -> None:
    network = thinned(tiny).eval()
    images, labels = batch
    prepared = prepare_qat(network, Scheme(bits=6, activation_bits=8, norms=norms), images)  # type: ignore[arg-type]
    assert prepared.training
    assert prepared.ready()
    observer = prepared.activation_quantizers()[0].activation_post_process
    assert observer.max_val == pytest.approx(images.max().item())
    before = copy.deepcopy(prepared.original.state_dict())
    optimizer = torch.optim.SGD(prepared.parameters(), lr=0.05)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = cross_entropy(prepared(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    prepared.eval()
    answers = prepared(images).detach()
    assert torch.equal(prepared(images), answers)
    assert all(torch.equal(tensor, before[name]) for name, tensor in prepared.original.state_dict().items())
    packed = pack(prepared, prepared.original)
    whole = unpack(packed, prepared.original, prepared.scheme, prepared.input_shape, prepared.layer_bits)
    assert (OnnxRuntime().export(whole, images).session(1)(images) - answers).abs().max() < 0.02 * answers.abs().max()


def test_the_momentum_moves_the_ranges_of_a_training(tiny: nn.Module, batch: Batch) -> None:
    images = batch[0]
    prepared = prepare_qat(tiny, Scheme(), images, range_momentum=0.75)
    prepared(images * 5)
    observer = prepared.activation_quantizers()[0].activation_post_process
    assert observer.max_val == pytest.approx((1 + 0.25 * 4) * images.max().item())


Mistake = tuple[Callable[[nn.Module, Tensor], object], type[EhapError], str]
MISTAKES: dict[str, Mistake] = {
    "no module": (lambda n, x: quantize(x, Scheme(), x), ArgumentError, "expected a torch.nn.Module as network"),  # type: ignore[arg-type]
    "train mode": (lambda n, x: quantize(n.train(), Scheme(), x), ArgumentError, "call network.eval() first"),
    "half": (lambda n, x: quantize(n.half(), Scheme(), x), ArchitectureError, "give network.float()"),
    "double": (lambda n, x: quantize(n.double(), Scheme(), x.double()), ArchitectureError, "take float()"),
    "bits alone": (lambda n, x: quantize(n, 8, x), ArgumentError, "ehap.Scheme(bits=8), got int"),  # type: ignore[arg-type]
    "exchanged": (lambda n, x: quantize(n, x, Scheme()), ArgumentError, "ehap.Scheme(bits=8), got Tensor"),  # type: ignore[arg-type]
    "live": (lambda n, x: quantize(n, Scheme(norms="live"), x), SettingsError, "norms must be frozen to quantize"),
    "twice": (lambda n, x: quantize(quantize(n, Scheme(), x), Scheme(), x), ArgumentError, "from before quantize"),
    "pixels": (lambda n, x: quantize(n, Scheme(), x.byte()), DataError, "normalise them"),
    "channels": (lambda n, x: quantize(n, Scheme(), x[:, :1]), DataError, "cannot take images (1, 8, 8)"),
    "channels, mix": (
        lambda n, x: quantize(n, Scheme(mix=(4, 8), size=0.7), x[:, :1]),
        DataError,
        "cannot take images (1, 8, 8)",
    ),
    "empty": (lambda n, x: quantize(n, Scheme(), []), DataError, "an empty iterable"),
    "no image": (lambda n, x: quantize(n, Scheme(), x[:0]), DataError, "expected at least one image"),
    "NaN": (lambda n, x: quantize(n, Scheme(), x * torch.nan), NumericsError, "NaN or Inf"),
    "one infinite pixel": (
        lambda n, x: quantize(n, Scheme(), torch.where(x == x.max(), torch.inf, x)),
        NumericsError,
        "NaN or Inf",
    ),
    "train mode, prepared": (lambda n, x: prepare_qat(n.train(), Scheme(), x), ArgumentError, "prepare_qat: expected"),
    "pixels, prepared": (lambda n, x: prepare_qat(n, Scheme(), x.byte()), DataError, "prepare_qat: expected"),
    "empty, prepared": (lambda n, x: prepare_qat(n, Scheme(), iter([])), DataError, "prepare_qat: expected"),
    "momentum": (
        lambda n, x: prepare_qat(n, Scheme(), x, range_momentum=1.5),
        SettingsError,
        "range_momentum must lie in [0, 1), got 1.5",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_by_one_line(tiny: nn.Module, mistake: Mistake) -> None:
    call, error, words = mistake
    with pytest.raises(error) as raised:
        call(tiny, random_inputs(8))
    text = str(raised.value)
    assert words in text
    assert "\n" not in text
    assert len(text) < 400
