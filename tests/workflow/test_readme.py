"""What the README says to type must work."""

import re
from pathlib import Path

import torch

from ehap.models import build_model

README = Path(__file__).parents[1] / "README.md"


def test_the_python_of_the_readme_prunes_a_network_to_its_budget() -> None:
    block = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert block is not None
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    names = {"model": build_model("resnet20", 10, seed=0), "images": images, "labels": torch.tensor([0, 1, 2, 3])}
    exec(block.group(1), names)
    smaller, chosen, repaired = names["smaller"], names["chosen"], names["repaired"]
    assert smaller(images).shape == repaired(images).shape == (4, 10)  # type: ignore[operator]
    dense, pruned, fitted = (each.eval()(images) for each in (names["model"], smaller, repaired))  # type: ignore[attr-defined]
    assert (fitted - dense).norm() < 0.5 * (pruned - dense).norm()
    assert 0.4 < chosen.flops / chosen.dense_flops <= 0.5  # type: ignore[attr-defined]
