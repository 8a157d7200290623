"""The pages' Python does what they say, their links lead somewhere, and the software is cited as it is."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from ehap.engines.onnxruntime import OnnxNetwork
from ehap.models import build_model
from ehap.records import read_tensors
from tests.workflow.conftest import ROOT
from tests.workflow.test_readme import PAGES, _blocks
from tests.workflow.test_run import CELL


def test_the_python_of_the_readme_prunes_a_network_to_its_budget_and_brings_it_to_integers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pruning, integers = (text for language, text in _blocks("README.md") if language == "python" and "chosen" in text)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    names: dict[str, Any] = {
        "model": build_model("resnet20", 10, seed=0),
        "images": images,
        "labels": torch.tensor([0, 1, 2, 3]),
    }
    exec(pruning, names)
    smaller, chosen, repaired = names["smaller"], names["chosen"], names["repaired"]
    assert smaller(images).shape == repaired(images).shape == (4, 10)
    dense, pruned, fitted = (each.eval()(images) for each in (names["model"], smaller, repaired))
    assert (fitted - dense).norm() < 0.5 * (pruned - dense).norm()
    assert 0.4 < chosen.flops / chosen.dense_flops <= 0.5
    exec(integers, names)
    deployed = OnnxNetwork((tmp_path / "model.onnx").read_bytes())(images)
    assert (deployed - fitted).norm() < 0.1 * fitted.norm()


def test_the_python_of_the_readme_takes_weights_of_ones_own(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = next(text for language, text in _blocks("README.md") if language == "python" and "load_file" in text)
    tensors, _ = read_tensors(finished / f"results/small/pretrain/{CELL}/model.safetensors")
    save_file(tensors, tmp_path / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    loaded = names["model"].state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert loaded.keys() == tensors.keys()


@pytest.mark.parametrize("page", [*PAGES, "config/SETTINGS.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings], target


def test_the_software_is_cited_under_the_version_and_licence_that_it_has() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["title"], citation["version"], citation["license"]) == tuple(
        project[key] for key in ("name", "version", "license")
    )
    (paper,) = citation["references"]
    assert f"https://arxiv.org/abs/{paper['doi'].removeprefix('10.48550/arXiv.')}" in (ROOT / "README.md").read_text()
