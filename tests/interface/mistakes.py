"""The first mistakes of users in each public function: the call, its error, and words of its message.

A call gets what ``given`` of ``test_mistakes`` makes.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy
import torch

import ehap
from tests.interface.later_mistakes import EXPORT, FILES, QUANTIZE, REPAIR, VERIFY

Case = tuple[str, Callable[[SimpleNamespace], Any], type[Exception], str]
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
SCORES += [
    ("a part in train mode", lambda g: ehap.channel_scores(g.partly, g.images), ehap.ArgumentError, "of its part bn1"),
    ("quantized", lambda g: ehap.channel_scores(g.int8, g.images), ehap.ArgumentError, "is quantized already"),
    (
        "several types",
        lambda g: ehap.channel_scores(g.mixed, g.images),
        ehap.ArchitectureError,
        "float32 and torch.float64",
    ),
    (
        "another approximation",
        lambda g: ehap.channel_scores(g.model, g.images, approximate="gn"),
        ehap.SettingsError,
        "approximate: expected one of no, gauss-newton",
    ),
    (
        "criteria",
        lambda g: ehap.channel_scores(g.model, g.images, criterion=["gate"]),
        ehap.ArgumentError,
        "one criterion",
    ),
    ("seed", lambda g: ehap.channel_scores(g.model, criterion="random", seed="a"), ehap.SettingsError, "seed must be"),
    (
        "labels alone",
        lambda g: ehap.channel_scores(g.model, [(g.images[:1], torch.tensor(3))], criterion="fisher"),
        ehap.DataError,
        "labels (N,) of whole numbers",
    ),
    (
        "labels of two forms",
        lambda g: ehap.channel_scores(
            g.model, [(g.images[:1], torch.tensor([3])), (g.images[:1], torch.tensor([[3]]))], criterion="fisher"
        ),
        ehap.DataError,
        "labels (N,) of whole numbers",
    ),
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
PLAN += [
    (
        "other channels",
        lambda g: ehap.plan(g.model, g.scores, g.budget, example=g.images[:, :1]),
        ehap.DataError,
        "cannot take",
    ),
    (
        "quantized",
        lambda g: ehap.plan(g.int8, g.scores, g.budget, example=g.images),
        ehap.ArgumentError,
        "quantized already",
    ),
]
PRUNE: list[Case] = [
    ("another network", lambda g: ehap.prune(g.other, g.plan), ehap.PlanError, "another model"),
    ("no network", lambda g: ehap.prune(g.plan, g.model), ehap.ArgumentError, "expected a torch.nn.Module"),
    ("no plan", lambda g: ehap.prune(g.model, g.budget), ehap.ArgumentError, "plan"),
]
PRUNE += [
    ("scores as a plan", lambda g: ehap.prune(g.model, g.scores), ehap.PlanError, "the indices of channels"),
    ("quantized", lambda g: ehap.prune(g.int8, g.plan), ehap.ArgumentError, "quantized already"),
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
