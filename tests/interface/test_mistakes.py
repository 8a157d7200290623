"""The first mistakes of users, in each public function: one clear line, before any work."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import ehap
from ehap.models import build_model
from tests.interface.mistakes import TABLE, Case


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Return what a user has: networks, images, a plan, files."""
    folder = tmp_path_factory.mktemp("files")
    model = build_model("resnet20", 10, seed=0).eval()
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    scores = ehap.channel_scores(model, criterion="magnitude")
    plan = ehap.plan(model, scores, ehap.Budget(flops=0.5), example=images[:2])
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval()
    small = ehap.prune(model, plan)
    partly = build_model("resnet20", 10, seed=0).eval()
    partly.bn1.train()
    mixed = build_model("resnet20", 10, seed=0).eval()
    mixed.fc.double()
    layer = next(name for name, kept in plan.kept.items() if len(kept) < plan.widths[name])
    others = sorted(plan.widths[layer] - 1 - channel for channel in plan.kept[layer])
    if others == plan.kept[layer]:
        others = sorted(set(range(plan.widths[layer])) - {plan.kept[layer][0]})[: len(others)]
    int8 = ehap.quantize(small, ehap.Scheme(), images)
    elsewhere = tmp_path_factory.mktemp("made")
    ehap.export(int8, elsewhere / "int8.onnx", images)
    ehap.save(small, None, elsewhere / "bare", example=images)
    (folder / "text.txt").write_text("no network\n")
    torch.save(model.state_dict(), folder / "weights.pth")
    return SimpleNamespace(
        model=model,
        training=build_model("resnet20", 10, seed=0).train(),
        half=build_model("resnet20", 10, seed=0).eval().half(),
        meta=build_model("resnet20", 10, seed=0).eval().to("meta"),
        other=other,
        of_seven=build_model("resnet20", 7, seed=0).eval(),
        grey=nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(3600, 10)).eval(),
        of_other=ehap.channel_scores(other, criterion="magnitude"),
        images=images,
        labels=torch.arange(8),
        pixels=torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8),
        scores=scores,
        plan=plan,
        small=small,
        int8=int8,
        onnx=elsewhere / "int8.onnx",
        bare=elsewhere / "bare",
        partly=partly,
        mixed=mixed,
        double=build_model("resnet20", 10, seed=0).eval().double(),
        turned=replace(plan, kept=plan.kept | {layer: others}),
        folder=folder,
        budget=ehap.Budget(flops=0.5),
    )


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)
def test_a_mistake_is_answered_by_one_clear_line(case: Case, given: SimpleNamespace) -> None:
    _, call, error, words = case
    before = sorted(path.name for path in Path(given.folder).iterdir())
    with pytest.raises(error) as raised:
        call(given)
    text = str(raised.value)
    assert words in text
    assert "\n" not in text.strip()
    assert len(text) < 500
    assert sorted(path.name for path in Path(given.folder).iterdir()) == before
