"""A user's first lines, as a script: ``core`` where nothing but the core is installed, ``all`` with quantization, too.

``tests/test_wheel.py`` executes it in environments of their own, away from this repository.
"""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ehap

assert "torch" not in sys.modules, "import ehap alone imports torch"

import torch  # noqa: E402

from ehap.runtime.extras import EXTRAS  # noqa: E402

SHAPE = (3, 32, 32)
WITH_TORCH = {"jinja2"}
MISSING = [
    f'{package} is not installed; it comes with: pip install "ehap[quantization]"'
    for package in ("torchao", "onnx", "onnxruntime")
]


def core(folder: Path) -> Any:
    """Score, plan, prune, reconstruct, save and load; return the small network and images."""
    from ehap.models import build_model
    from ehap.pruning import plan, prune
    from ehap.records import read_tensors, write_tensors
    from ehap.settings import Prune

    model = build_model("resnet20", 10, seed=0).eval()
    images = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(0))
    scores = ehap.channel_scores(model, images, criterion="gate")
    chosen = plan(model, scores, Prune(criterion="gate", flops=0.5), SHAPE)
    small = prune(model, chosen).eval()
    ehap.verify(small, model, images, plan=chosen)
    small = ehap.reconstruct(small, teacher=model, plan=chosen, images=images)
    write_tensors(folder / "small.safetensors", small.state_dict(), {"kept": chosen.kept})
    tensors, metadata = read_tensors(folder / "small.safetensors")
    again = prune(build_model("resnet20", 10), metadata["kept"]).eval()
    again.load_state_dict(tensors)
    assert torch.equal(again(images), small(images))
    return again, images


def quantized(small: Any, images: torch.Tensor) -> None:
    """Quantize, export and execute the small network."""
    from ehap.data import DATASETS
    from ehap.engines.registry import engine
    from ehap.quantization import pack_on_noise, unpack

    packed, scheme = pack_on_noise(small, SHAPE, DATASETS["digits"])
    network = unpack(packed, small, scheme, SHAPE)
    found = engine("onnxruntime").export(network, images)
    assert found.audit().in_integers["QLinearConv"] >= 19
    assert (found.run(images) - network(images)).abs().max() < 0.1 * network(images).abs().max()


def refused(folder: Path) -> None:
    """Ask for what quantization brings; the answer names the pip command."""
    assert not {name for name in EXTRAS if find_spec(name)} - WITH_TORCH
    _missing(lambda: ehap.export)
    (folder / "model.onnx").touch()
    network, images = torch.nn.Conv2d(3, 4, 3).eval(), torch.randn(1, *SHAPE)
    _missing(lambda: ehap.verify(folder / "model.onnx", network, images))


def _missing(call: Callable[[], Any]) -> None:
    try:
        answer = str(call())
    except ehap.MissingPackageError as error:
        answer = str(error)
    assert answer in MISSING, answer


if __name__ == "__main__":
    which, here = sys.argv[1], Path(sys.argv[2])
    with torch.no_grad():
        network, shown = core(here)
        if which == "core":
            refused(here)
        else:
            quantized(network, shown)
    print(f"{which} works: {Path(ehap.__file__).parent}")
