"""The pages' Python does what they say, their links lead somewhere, and the software is cited as it is."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import ehap
from ehap.data import DATASETS
from ehap.engines.onnxruntime import OnnxNetwork
from ehap.models import build_model
from tests.workflow.conftest import ROOT
from tests.workflow.test_readme import PAGES, _blocks
from tests.workflow.test_run import CELL


def test_the_eight_lines_of_the_readme_prune_repair_quantize_export_and_save_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (lines,) = (text for language, text in _blocks("README.md") if language == "python")
    images = torch.randn(32, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model = build_model("resnet20", 10, seed=0).eval()
    names: dict[str, Any] = {"model": model, "images": images}
    exec(lines, names)
    plan, small = names["plan"], names["small"]
    assert 0.4 < plan.flops / plan.dense_flops <= 0.5
    dense, pruned, fitted = (each(images) for each in (model, ehap.prune(model, plan), small))
    assert (fitted - dense).norm() < 0.5 * (pruned - dense).norm()
    by_itself = ehap.load(tmp_path / "small.safetensors")(images)
    assert torch.allclose(by_itself, fitted, rtol=0, atol=1e-4 * float(fitted.detach().abs().max()))
    deployed = OnnxNetwork((tmp_path / "model.onnx").read_bytes())(images)
    assert (deployed - fitted).norm() < 0.1 * fitted.norm()
    assert not names["report"].in_float
    assert "layer1.0.conv1" in capsys.readouterr().out


def test_networks_of_a_run_are_opened_by_python_as_the_readme_says(finished: Path) -> None:
    assert (
        'ehap.load("results/demo/finetune/digits/resnet20/seed0/hap/model.safetensors")'
        in (ROOT / "README.md").read_text()
    )
    dense = ehap.load(finished / f"results/small/pretrain/{CELL}/model.safetensors")
    files = sorted((finished / f"results/small/finetune/{CELL}").glob("*/model.safetensors"))
    files += sorted((finished / f"results/small/quantize/{CELL}").glob("*/*/weights.safetensors"))
    assert len(files) > 2
    images = torch.randn(2, *DATASETS["digits"].input_shape)
    for file in files:
        assert ehap.load(file)(images).shape == dense(images).shape == (2, 10)


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
