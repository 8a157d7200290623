"""The first mistakes of users, in each public function: one clear line, before any work."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from torch import nn

import ehap
from ehap.models import build_model

Case = tuple[str, Callable[[SimpleNamespace], Any], type[Exception], str]


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
        int8=ehap.quantize(small, ehap.Scheme(), images),
        folder=folder,
        budget=ehap.Budget(flops=0.5),
    )


SCORES: list[Case] = [
    ("no network", lambda g: ehap.channel_scores("resnet", g.images), ehap.ArgumentError, "expected a torch.nn.Module"),
    ("train mode", lambda g: ehap.channel_scores(g.training, g.images), ehap.ArgumentError, "call model.eval()"),
    ("half precision", lambda g: ehap.channel_scores(g.half, g.images), ehap.ArchitectureError, "give model.float()"),
    (
        "no values",
        lambda g: ehap.channel_scores(g.meta, g.images),
        ehap.ArchitectureError,
        "load the network's weights",
    ),
    ("pixels", lambda g: ehap.channel_scores(g.model, g.pixels), ehap.DataError, "normalise them"),
    ("one image", lambda g: ehap.channel_scores(g.model, g.images[0]), ehap.DataError, "images[None]"),
    ("other channels", lambda g: ehap.channel_scores(g.model, g.images[:, :1]), ehap.DataError, "cannot take images"),
    ("double", lambda g: ehap.channel_scores(g.model, g.images.double()), ehap.DataError, "images.to(torch.float32)"),
    ("empty iterable", lambda g: ehap.channel_scores(g.model, []), ehap.DataError, "an empty iterable"),
    ("no images", lambda g: ehap.channel_scores(g.model), ehap.ArgumentError, "needs images"),
    (
        "an array",
        lambda g: ehap.channel_scores(g.model, [numpy.zeros((2, 3, 32, 32))]),
        ehap.ArgumentError,
        "from_numpy",
    ),
    ("NaN", lambda g: ehap.channel_scores(g.model, g.images * torch.nan), ehap.NumericsError, "NaN or Inf"),
    ("on meta", lambda g: ehap.channel_scores(g.model, g.images.to("meta")), ehap.DataError, "meta device"),
    (
        "no labels",
        lambda g: ehap.channel_scores(g.model, g.images, criterion="fisher"),
        ehap.ArgumentError,
        "needs labels",
    ),
    (
        "fewer labels",
        lambda g: ehap.channel_scores(g.model, g.images, g.labels[:3], criterion="taylor"),
        ehap.DataError,
        "a label for each of 8 images, got 3",
    ),
    (
        "labels of another task",
        lambda g: ehap.channel_scores(g.model, g.images, g.labels + 5, criterion="fisher"),
        ehap.DataError,
        "labels of 0 to 9",
    ),
    (
        "labels as shares",
        lambda g: ehap.channel_scores(g.model, g.images, g.labels.float(), criterion="fisher"),
        ehap.DataError,
        "whole numbers",
    ),
    ("criterion", lambda g: ehap.channel_scores(g.model, g.images, criterion="l2"), ehap.SettingsError, "one of trace"),
]
PLAN: list[Case] = [
    (
        "scores of another network",
        lambda g: ehap.plan(g.model, g.of_other, g.budget, example=g.images),
        ehap.PlanError,
        "scores",
    ),
    (
        "keys of parameters",
        lambda g: ehap.plan(g.model, {f"{k}.weight": v for k, v in g.scores.items()}, g.budget, example=g.images),
        ehap.PlanError,
        ".weight",
    ),
    (
        "scores of a larger network",
        lambda g: ehap.plan(g.model, g.scores | {"layer1.9.conv1": g.scores["conv1"]}, g.budget, example=g.images),
        ehap.PlanError,
        "which has no such layer",
    ),
    (
        "complex scores",
        lambda g: ehap.plan(g.model, {k: v.cfloat() for k, v in g.scores.items()}, g.budget, example=g.images),
        ehap.PlanError,
        "got torch.complex64",
    ),
    (
        "out of reach",
        lambda g: ehap.plan(g.model, g.scores, ehap.Budget(flops=1e-5), example=g.images),
        ehap.PlanError,
        "at least",
    ),
    ("percent", lambda g: ehap.Budget(flops=50), ehap.SettingsError, "flops"),
    ("no budget", lambda g: ehap.Budget(), ehap.SettingsError, "budget"),
    ("a number", lambda g: ehap.plan(g.model, g.scores, 0.5, example=g.images), ehap.ArgumentError, "ehap.Budget"),
    ("pixels", lambda g: ehap.plan(g.model, g.scores, g.budget, example=g.pixels), ehap.DataError, "normalise them"),
    ("limits", lambda g: ehap.Limits(min_channels=0), ehap.SettingsError, "min_channels"),
]
PRUNE: list[Case] = [
    ("another network", lambda g: ehap.prune(g.other, g.plan), ehap.PlanError, "another model"),
    ("no network", lambda g: ehap.prune(g.plan, g.model), ehap.ArgumentError, "expected a torch.nn.Module"),
    ("no plan", lambda g: ehap.prune(g.model, g.budget), ehap.ArgumentError, "plan"),
]
REPAIR: list[Case] = [
    (
        "train mode",
        lambda g: ehap.reconstruct(g.small, g.training, g.plan, g.images),
        ehap.ArgumentError,
        "call teacher.eval()",
    ),
    ("networks exchanged", lambda g: ehap.reconstruct(g.model, g.small, g.plan, g.images), ehap.EhapError, "plan"),
    (
        "no plan",
        lambda g: ehap.reconstruct(g.small, g.model, g.budget, g.images),
        ehap.ArgumentError,
        "a plan of ehap.plan",
    ),
    (
        "too few",
        lambda g: ehap.reconstruct(g.small, g.model, g.plan, g.images[:2]),
        ehap.DataError,
        "at least 3 images",
    ),
    ("pixels", lambda g: ehap.reconstruct(g.small, g.model, g.plan, g.pixels), ehap.DataError, "normalise them"),
    ("empty", lambda g: ehap.reconstruct(g.small, g.model, g.plan, iter([])), ehap.DataError, "an empty iterable"),
    ("pixels to distill", lambda g: ehap.distill(g.small, g.model, g.pixels), ehap.DataError, "normalise them"),
    ("another teacher", lambda g: ehap.distill(g.small, g.other, g.images), ehap.EhapError, "expected"),
    (
        "teacher of other classes",
        lambda g: ehap.distill(g.small, g.of_seven, g.images),
        ehap.DataError,
        "got 7 of the teacher and 10 of the student",
    ),
    (
        "teacher of grey images",
        lambda g: ehap.distill(g.small, g.grey, g.images),
        ehap.DataError,
        "teacher cannot take images (3, 32, 32)",
    ),
    (
        "teacher on another device",
        lambda g: ehap.distill(g.small, g.meta, g.images),
        ehap.ArchitectureError,
        "of teacher has no values, on the meta device",
    ),
    (
        "teacher in another type",
        lambda g: ehap.distill(g.small, copy.deepcopy(g.model).double(), g.images),
        ehap.ArgumentError,
        "network and teacher on one device and in one type",
    ),
    ("one image", lambda g: ehap.distill(g.small, g.model, g.images[:1]), ehap.DataError, "at least 2 images, got 1"),
    (
        "no such change",
        lambda g: ehap.distill(g.small, g.model, g.images, augment="mirror"),
        ehap.ArgumentError,
        "'crop and mirror', 'crop' or None",
    ),
    (
        "border of one channel",
        lambda g: ehap.distill(g.small, g.model, g.images, padding=[0.0]),
        ehap.ArgumentError,
        "each of 3 channels",
    ),
    (
        "teacher in train mode",
        lambda g: ehap.distill(g.small, g.training, g.images),
        ehap.ArgumentError,
        "teacher.eval()",
    ),
]
QUANTIZE: list[Case] = [
    ("train mode", lambda g: ehap.quantize(g.training, ehap.Scheme(), g.images), ehap.ArgumentError, "eval()"),
    ("half precision", lambda g: ehap.quantize(g.half, ehap.Scheme(), g.images), ehap.ArchitectureError, "float()"),
    ("bits alone", lambda g: ehap.quantize(g.small, 8, g.images), ehap.ArgumentError, "ehap.Scheme"),
    ("16 bits", lambda g: ehap.Scheme(bits=16), ehap.SettingsError, "2 to 8"),
    ("pixels", lambda g: ehap.quantize(g.small, ehap.Scheme(), g.pixels), ehap.DataError, "normalise them"),
    ("empty", lambda g: ehap.quantize(g.small, ehap.Scheme(), []), ehap.DataError, "an empty iterable"),
    ("quantized twice", lambda g: ehap.quantize(g.int8, ehap.Scheme(), g.images), ehap.EhapError, "quantize"),
    (
        "live norms without a training",
        lambda g: ehap.quantize(g.small, ehap.Scheme(norms="live"), g.images),
        ehap.SettingsError,
        "norms must be frozen to quantize",
    ),
    (
        "prepared twice",
        lambda g: ehap.prepare_qat(g.int8, ehap.Scheme(), g.images),
        ehap.ArgumentError,
        "network.original",
    ),
    ("pixels to train", lambda g: ehap.prepare_qat(g.small, ehap.Scheme(), g.pixels), ehap.DataError, "normalise them"),
]
EXPORT: list[Case] = [
    ("pixels", lambda g: ehap.export(g.int8, g.folder / "a.onnx", g.pixels), ehap.DataError, "normalise them"),
    ("no folder", lambda g: ehap.export(g.int8, g.folder / "none/a.onnx", g.images), ehap.EhapError, "none"),
    ("train mode", lambda g: ehap.export(g.training, g.folder / "a.onnx", g.images), ehap.ArgumentError, "eval()"),
    ("exchanged", lambda g: ehap.export("a.onnx", g.int8, g.images), ehap.ArgumentError, "torch.nn.Module"),
]
VERIFY: list[Case] = [
    ("another network", lambda g: ehap.verify(g.small, g.model, g.images), ehap.MismatchError, "different outputs"),
    ("no file", lambda g: ehap.verify(g.folder / "b.onnx", g.model, g.images), ehap.ArgumentError, "no"),
    ("train mode", lambda g: ehap.verify(g.training, g.model, g.images), ehap.ArgumentError, "found.eval()"),
    ("text", lambda g: ehap.verify(g.folder / "text.txt", g.model, g.images), ehap.CheckpointError, "ONNX"),
]
FILES: list[Case] = [
    ("text", lambda g: ehap.load(g.folder / "text.txt"), ehap.CheckpointError, "text.txt"),
    ("no file", lambda g: ehap.load(g.folder / "none"), ehap.EhapError, "none"),
    ("weights of torch.save", lambda g: ehap.load(g.folder / "weights.pth"), ehap.CheckpointError, "torch.save"),
    ("exchanged", lambda g: ehap.save("a.safetensors", g.plan, g.small), ehap.ArgumentError, "torch.nn.Module"),
    ("plan of another", lambda g: ehap.save(g.other, g.plan, g.folder / "c"), ehap.PlanError, "plan"),
]
TABLE = {
    **{f"scores {case[0]}": case for case in SCORES},
    **{f"plan {case[0]}": case for case in PLAN},
    **{f"prune {case[0]}": case for case in PRUNE},
    **{f"repair {case[0]}": case for case in REPAIR},
    **{f"quantize {case[0]}": case for case in QUANTIZE},
    **{f"export {case[0]}": case for case in EXPORT},
    **{f"verify {case[0]}": case for case in VERIFY},
    **{f"file {case[0]}": case for case in FILES},
}


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
