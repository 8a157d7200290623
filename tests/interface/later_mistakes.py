"""The first mistakes of users with networks that are pruned: in repair, integers, exports and files.

A call gets what ``given`` of ``test_mistakes`` makes.
"""

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

import ehap

Case = tuple[str, Callable[[SimpleNamespace], Any], type[Exception], str]


def _in_inference(call: Callable[[], Any]) -> Any:
    with torch.inference_mode():
        return call()


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
REPAIR += [
    (
        "another plan",
        lambda g: ehap.reconstruct(g.small, g.model, g.turned, g.images),
        ehap.PlanError,
        "by another plan",
    ),
    (
        "quantized",
        lambda g: ehap.reconstruct(g.int8, g.model, g.plan, g.images),
        ehap.ArgumentError,
        "quantized already",
    ),
    (
        "ridge",
        lambda g: ehap.reconstruct(g.small, g.model, g.plan, g.images, ridge="a"),
        ehap.SettingsError,
        "ridge must be a number",
    ),
    (
        "rate",
        lambda g: ehap.distill(g.small, g.model, g.images, learning_rate="a"),
        ehap.SettingsError,
        "must be a number",
    ),
    (
        "seed",
        lambda g: ehap.distill(g.small, g.model, g.images, seed=1.5),
        ehap.SettingsError,
        "seed must be a whole number",
    ),
    (
        "inference",
        lambda g: _in_inference(lambda: ehap.distill(g.small, g.model, g.images)),
        ehap.ArgumentError,
        "inference",
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
        "from before quantize",
    ),
    ("pixels to train", lambda g: ehap.prepare_qat(g.small, ehap.Scheme(), g.pixels), ehap.DataError, "normalise them"),
]
EXPORT: list[Case] = [
    ("pixels", lambda g: ehap.export(g.int8, g.folder / "a.onnx", g.pixels), ehap.DataError, "normalise them"),
    ("no folder", lambda g: ehap.export(g.int8, g.folder / "none/a.onnx", g.images), ehap.EhapError, "none"),
    ("train mode", lambda g: ehap.export(g.training, g.folder / "a.onnx", g.images), ehap.ArgumentError, "eval()"),
    ("exchanged", lambda g: ehap.export("a.onnx", g.int8, g.images), ehap.ArgumentError, "torch.nn.Module"),
]
EXPORT += [
    (
        "doubles",
        lambda g: ehap.export(g.double, g.folder / "a.onnx", g.images.double()),
        ehap.ArchitectureError,
        "float32",
    ),
    (
        "other channels",
        lambda g: ehap.export(g.small, g.folder / "a.onnx", g.images[:, :1]),
        ehap.DataError,
        "cannot take",
    ),
    (
        "integers, channels",
        lambda g: ehap.export(g.int8, g.folder / "a.onnx", g.images[:, :1]),
        ehap.DataError,
        "cannot take",
    ),
    ("no path", lambda g: ehap.export(g.small, None, g.images), ehap.ArgumentError, "the path of a file"),
]
VERIFY: list[Case] = [
    ("another network", lambda g: ehap.verify(g.small, g.model, g.images), ehap.MismatchError, "different outputs"),
    ("no file", lambda g: ehap.verify(g.folder / "b.onnx", g.model, g.images), ehap.ArgumentError, "no"),
    ("train mode", lambda g: ehap.verify(g.training, g.model, g.images), ehap.ArgumentError, "found.eval()"),
    ("text", lambda g: ehap.verify(g.folder / "text.txt", g.model, g.images), ehap.CheckpointError, "ONNX"),
]
VERIFY += [
    (
        "tolerance",
        lambda g: ehap.verify(g.small, g.small, g.images, tolerance="a"),
        ehap.SettingsError,
        "must be a number",
    ),
    ("another size", lambda g: ehap.verify(g.onnx, g.int8, g.images[:, :, :20, :20]), ehap.DataError, "cannot take"),
]
FILES: list[Case] = [
    ("text", lambda g: ehap.load(g.folder / "text.txt"), ehap.CheckpointError, "text.txt"),
    ("no file", lambda g: ehap.load(g.folder / "none"), ehap.EhapError, "none"),
    ("weights of torch.save", lambda g: ehap.load(g.folder / "weights.pth"), ehap.CheckpointError, "torch.save"),
    ("exchanged", lambda g: ehap.save("a.safetensors", g.plan, g.small), ehap.ArgumentError, "torch.nn.Module"),
    ("plan of another", lambda g: ehap.save(g.other, g.plan, g.folder / "c"), ehap.PlanError, "plan"),
]
FILES += [
    ("another plan", lambda g: ehap.save(g.small, g.turned, g.folder / "c"), ehap.PlanError, "keeps other channels"),
    (
        "other channels",
        lambda g: ehap.save(g.small, g.plan, g.folder / "c", example=g.images[:, :1]),
        ehap.DataError,
        "cannot take",
    ),
    ("no plan inside", lambda g: ehap.load_plan(g.bare), ehap.CheckpointError, "without a plan"),
    ("weights", lambda g: ehap.load_plan(g.folder / "weights.pth"), ehap.CheckpointError, "torch.save"),
    (
        "channels twice",
        lambda g: ehap.PruningPlan.from_json(g.plan.to_json().replace('"conv1": [', '"conv1": [0, 0, ', 1)),
        ehap.PlanError,
        "sorted channels",
    ),
]
