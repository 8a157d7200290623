"""The README's lines, as a script: ``core`` where nothing but the core is installed, ``all`` with quantization, too.

``tests/test_wheel.py`` executes it in environments of their own, away from this repository: FOLDER/readme.py holds the
lines.
"""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ehap

assert "torch" not in sys.modules, "import ehap alone imports torch"

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from ehap.runtime.extras import EXTRAS  # noqa: E402

WITH_TORCH = {"jinja2"}
OF_QUANTIZATION = ("int8", "report")
MISSING = [
    f'{package} is not installed; it comes with: pip install "ehap[quantization]"'
    for package in ("torchao", "onnx", "onnxruntime")
]


class Residual(nn.Module):
    """A network of a user's own, with a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.first, self.second = nn.Conv2d(16, 24, 3, padding=1), nn.Conv2d(24, 16, 3, padding=1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, 10)."""
        x = self.norm(self.stem(x)).relu()
        x = (x + self.second(self.first(x).relu())).relu()
        found: Tensor = self.fc(x.mean((2, 3)))
        return found


def readme(lines: str, which: str) -> dict[str, Any]:
    """Execute the lines, of which the core has those without integers; return the names that they give."""
    if which == "core":
        lines = "\n".join(
            line for line in lines.splitlines() if not line.startswith((*OF_QUANTIZATION, "print(report"))
        )
    torch.manual_seed(0)
    names: dict[str, Any] = {"model": Residual().eval(), "images": torch.randn(32, 3, 16, 16)}
    exec(lines, names)
    small, images = names["small"], names["images"]
    assert torch.equal(ehap.load("small.safetensors")(images), small(images))
    ehap.verify(ehap.prune(names["model"], names["plan"]), names["model"], images, plan=names["plan"])
    assert names["plan"].flops <= names["plan"].dense_flops / 2
    return names


def integers(names: dict[str, Any]) -> None:
    """Check the file and the report of the integers."""
    assert not names["report"].in_float
    ehap.verify("model.onnx", names["int8"], names["images"])
    ehap.save(names["int8"], names["plan"], "int8.safetensors")
    again = ehap.load("int8.safetensors")
    assert torch.equal(again(names["images"]), names["int8"](names["images"]))


def refused(names: dict[str, Any]) -> None:
    """Ask for what quantization brings; the answer names the pip command."""
    assert not {name for name in EXTRAS if find_spec(name)} - WITH_TORCH
    for name in ("export", "quantize", "prepare_qat"):
        _missing(lambda name=name: getattr(ehap, name))  # type: ignore[misc]
    Path("model.onnx").touch()
    _missing(lambda: ehap.verify("model.onnx", names["model"], names["images"]))


def _missing(call: Callable[[], Any]) -> None:
    try:
        answer = str(call())
    except ehap.MissingPackageError as error:
        answer = str(error)
    assert answer in MISSING, answer


if __name__ == "__main__":
    with torch.no_grad():
        found = readme(Path(sys.argv[2], "readme.py").read_text(), sys.argv[1])
        (refused if sys.argv[1] == "core" else integers)(found)
    print(f"\n{sys.argv[1]} works: {Path(ehap.__file__).parent}")
