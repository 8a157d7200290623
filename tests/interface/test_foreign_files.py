"""Damaged and foreign files: each is refused by one line, and none gives another network or another exception."""

import copy
import json
import pickle
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ehap.errors import CheckpointError
from ehap.graph.channels import channel_graph
from ehap.interface.files import load, save
from ehap.interface.quantization import quantize
from ehap.pruning import PruningPlan, prune
from ehap.records import CHECKSUM, write_tensors
from ehap.settings import Scheme
from tests.pruning.plans import random_plan

SHAPE = (3, 8, 8)
Tensors = dict[str, Tensor]


@pytest.fixture
def plan(tiny: nn.Module) -> PruningPlan:
    return PruningPlan(random_plan(tiny, 0), channel_graph(tiny).widths(), 1, 1, 1, 1, SHAPE)


@pytest.fixture
def path(tiny: nn.Module, plan: PruningPlan, tmp_path: Path) -> Path:
    """The file of a pruned network."""
    save(prune(tiny, plan), plan, tmp_path / "network.safetensors")
    return tmp_path / "network.safetensors"


@pytest.fixture
def integers(tiny: nn.Module, batch: tuple[Tensor, Tensor], tmp_path: Path) -> Path:
    """The file of a quantized network."""
    save(quantize(tiny, Scheme(bits=4), batch[0]), None, tmp_path / "integers.safetensors")
    return tmp_path / "integers.safetensors"


def refused(path: Path, words: str, model: nn.Module | None = None) -> None:
    with pytest.raises(CheckpointError, match=words) as raised:
        load(path, model)
    text = str(raised.value)
    assert "\n" not in text
    assert str(path) in text
    assert text.endswith(".")
    assert len(text) < 500 + len(str(path))


def _file(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def _torch_save(what: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(what, path, **options)


FOREIGN: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda path: None, "there is none"),
    "a folder": (lambda path: path.mkdir(), "got a folder"),
    "empty": (_file(b""), "another kind of file"),
    "text": (_file(b"model: resnet20\n"), "another kind of file"),
    "random": (_file(random.Random(0).randbytes(4096)), "another kind of file"),
    "zeros": (_file(bytes(4096)), "another kind of file"),
    "the size of a header": (_file(struct.pack("<Q", 10**15) + b"{}"), "no whole safetensors file"),
    "deep": (_file(struct.pack("<Q", 9000) + b'{"a":' + b"[" * 8995), "no whole safetensors file"),
    "torch.save": (_torch_save({"weight": torch.ones(2)}), "torch.save.*weights_only=True.*ehap.save"),
    "torch.save of old": (_torch_save(nn.Linear(2, 2), _use_new_zipfile_serialization=False), "torch.save"),
    "pickle": (_file(pickle.dumps({"weight": 1})), "torch.save"),
    "ONNX": (_file(b"\x08\x08\x12\x07pytorch\x1a\x052.0.0"), "ONNX file"),
    "weights only": (lambda path: save_file({"a": torch.ones(2)}, path), "weights only.*load_state_dict.*ehap.save"),
    "other metadata": (lambda path: save_file({"a": torch.ones(2)}, path, {"format": "pt"}), "weights only"),
    "no JSON": (lambda path: save_file({"a": torch.ones(2)}, path, {"ehap": "{"}), "no whole safetensors"),
    "no checksum": (lambda path: save_file({"a": torch.ones(2)}, path, {"ehap": "{}"}), "no checksum"),
    "a list": (lambda path: save_file({"a": torch.ones(2)}, path, {"ehap": "[1]"}), "no checksum"),
    "infinite": (lambda path: save_file({"a": torch.ones(2)}, path, {"ehap": "[Infinity]"}), "no finite number"),
    "brackets": (lambda path: save_file({"a": torch.ones(2)}, path, {"ehap": "[" * 99999}), "no whole safetensors"),
    "traces": (lambda path: write_tensors(path, {"a": torch.ones(2)}, {"curvature": "exact"}), "holds no network"),
    "another model": (
        lambda path: write_tensors(path, {}, {"model": "vgg", "dataset": "digits", "seed": 0, "kept": None}),
        "vgg",
    ),
    "another plan": (
        lambda path: write_tensors(path, {}, {"model": "resnet20", "dataset": "digits", "seed": 0, "kept": {"a": [1]}}),
        "its plan does not fit resnet20",
    ),
    "no plan": (
        lambda path: write_tensors(path, {}, {"model": "resnet20", "dataset": "digits", "seed": 0, "kept": [1]}),
        "expected a plan, channels by layer",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_refused_and_the_message_says_what_to_do(name: str, tmp_path: Path) -> None:
    make, words = FOREIGN[name]
    make(tmp_path / "found")
    refused(tmp_path / "found", words)


def test_truncated_files_are_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in [*range(0, 40, 3), *range(100, len(content), 997), len(content) - 1]:
        path.write_bytes(content[:length])
        refused(path, "no whole safetensors file|another kind of file")
    path.write_bytes(content + b"more")
    refused(path, "no whole safetensors file")


def rewritten(path: Path, change: Callable[[Tensors, dict[str, Any]], object]) -> None:
    """Change tensors and metadata of a file, and give it the checksum of what it holds then."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        metadata = json.loads(file.metadata()["ehap"])
    del metadata[CHECKSUM]
    change(tensors, metadata)
    write_tensors(path, tensors, metadata)


def _plan(**changes: Any) -> Callable[[Tensors, dict[str, Any]], None]:
    def change(_: Tensors, metadata: dict[str, Any]) -> None:
        metadata["plan"] = json.dumps({**json.loads(metadata["plan"]), **changes})

    return change


def _tensor(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Tensors, dict[str, Any]], None]:
    return lambda tensors, _: tensors.update({name: change(tensors[name])})


def _metadata(**changes: Any) -> Callable[[Tensors, dict[str, Any]], None]:
    return lambda _, metadata: metadata.update(changes)


EDITED: dict[str, tuple[Callable[[Tensors, dict[str, Any]], object], str]] = {
    "next version": (_metadata(version=2), "version 1 of the format, got 2"),
    "no version": (lambda _, metadata: metadata.pop("version"), "got None"),
    "another format": (_metadata(format="other"), "holds no network"),
    "key missing": (lambda _, metadata: metadata.pop("plan"), "expected metadata"),
    "key too many": (_metadata(more=1), "expected metadata"),
    "tensor missing": (lambda tensors, _: tensors.pop("conv1.weight"), "conv1.weight is missing"),
    "tensor too many": (lambda tensors, _: tensors.update(more=torch.ones(1)), "more belongs to no module"),
    "other shape": (_tensor("conv1.weight", lambda each: each[:, :2]), "conv1.weight has the shape"),
    "other type": (_tensor("conv1.weight", lambda each: each.int()), "conv1.weight is of torch.int32"),
    "half": (_tensor("conv1.weight", lambda each: each.half()), "expected one of float32 and float64"),
    "two types": (_tensor("conv1.weight", lambda each: each.double()), "torch.float32 and torch.float64"),
    "other counter": (_tensor("bn1.num_batches_tracked", lambda each: each.float()), "num_batches_tracked is of"),
    "no shape": (_metadata(input_shape=None), "expected the shape"),
    "other images": (_metadata(input_shape=[4, 8, 8]), "takes no images"),
    "too small images": (_metadata(input_shape=[3, 1, 1]), "takes no images"),
    "no graph": (_metadata(graph=None), "describes no network"),
    "plan of other layers": (_plan(kept={"a": [0]}), "name other layers"),
    "plan of fewer channels": (
        lambda tensors, metadata: _plan(kept={**json.loads(metadata["plan"])["kept"], "conv1": []})(tensors, metadata),
        "expected sorted channels",
    ),
    "plan of another kind": (_plan(kept=[1]), "its plan cannot be read"),
    "plan with more": (_plan(more=1), "its plan cannot be read"),
    "no plan": (_metadata(plan="{"), "its plan cannot be read"),
    "plan as a number": (_metadata(plan=5), "its plan cannot be read"),
    "quantized by nothing": (_metadata(quantization=1), "scheme and bits"),
    "quantized": (_metadata(quantization={"scheme": {}, "layer_bits": None}), "expected the tensors"),
}


@pytest.mark.parametrize("name", EDITED)
def test_files_that_contradict_themselves_are_refused(name: str, path: Path) -> None:
    change, words = EDITED[name]
    load(path)
    rewritten(path, change)
    refused(path, words)


def test_a_plan_of_channels_that_the_layer_never_had_is_refused(path: Path) -> None:
    def shifted(_: Tensors, metadata: dict[str, Any]) -> None:
        plan = json.loads(metadata["plan"])
        plan["kept"]["conv1"] = [each + 9 for each in plan["kept"]["conv1"]]
        metadata["plan"] = json.dumps(plan)

    rewritten(path, shifted)
    refused(path, "its plan cannot be read .*conv1.*expected sorted channels")


def test_a_union_of_maps_of_two_sizes_is_refused(path: Path) -> None:
    def shrunk(_: Tensors, metadata: dict[str, Any]) -> None:
        module = next(each for each in metadata["graph"]["modules"] if each["path"] == "block1.conv2")
        module["arguments"]["stride"] = {"tuple": [2, 2]}

    rewritten(path, shrunk)
    refused(path, "takes no images .*a union of")


INTEGERS: dict[str, tuple[Callable[[Tensors, dict[str, Any]], object], str]] = {
    "tensor missing": (lambda tensors, _: tensors.pop("bias"), "bias is missing or unknown"),
    "tensor too many": (lambda tensors, _: tensors.update(more=torch.ones(1)), "more is missing or unknown"),
    "fewer weights": (_tensor("weights", lambda each: each[:-1]), "expected weights of length"),
    "other type": (_tensor("weights", lambda each: each.view(torch.int8)), "expected weights as one row"),
    "other rank": (_tensor("bias", lambda each: each[None]), "expected bias as one row"),
    "NaN": (_tensor("weight_scale", lambda each: each * torch.nan), "weight_scale: expected finite"),
    "fewer ranges": (_tensor("activations.scale", lambda each: each[1:]), "activations.scale"),
    "other bits": (_metadata(quantization={"scheme": {"bits": 8}, "layer_bits": None}), "expected weights of length"),
    "fewer bits": (_metadata(quantization={"scheme": {"bits": 2}, "layer_bits": None}), "other bits"),
    "no scheme": (_metadata(quantization={"layer_bits": None}), "its scheme cannot be read"),
    "another scheme": (_metadata(quantization={"scheme": {"bits": 99}, "layer_bits": None}), "bits must be 2 to 8"),
    "bits of other layers": (
        _metadata(quantization={"scheme": {"bits": 4}, "layer_bits": {"a": 4}}),
        "belongs to another network",
    ),
    "bits of no kind": (_metadata(quantization={"scheme": {"bits": 4}, "layer_bits": [4]}), "expected layer_bits"),
    "in floating point": (_metadata(quantization=None), "do not fit its graph"),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_that_contradict_themselves_are_refused(name: str, integers: Path) -> None:
    change, words = INTEGERS[name]
    rewritten(integers, change)
    refused(integers, words)


@torch.no_grad()
def test_a_byte_that_changed_gives_the_same_network_or_one_clear_error(
    path: Path, batch: tuple[Tensor, Tensor]
) -> None:
    wanted, content, draw = load(path)(batch[0]), path.read_bytes(), random.Random(0)
    header = 8 + struct.unpack("<Q", content[:8])[0]
    messages = []
    for number in range(300):
        changed = bytearray(content)
        changed[number % 8 if number < 40 else draw.randrange(header)] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            assert torch.equal(load(path)(batch[0]), wanted)
        except CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 250
    assert not any("\n" in text for text in messages)


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Return all places in JSON: each as its mapping or list, and its key."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [place for key, value in items for place in [(data, key), *_places(value)]]


ODD = (None, True, -1, 0, 1, 7, 10**12, 10**400, 0.5, "", "text", "os.system", [], [0], {}, {"node": 0}, {"tuple": [1]})


@torch.no_grad()
def test_a_graph_that_changed_with_its_checksum_is_a_network_or_one_clear_error(
    path: Path, integers: Path, tiny: nn.Module
) -> None:
    """Values anywhere in the graph, plan and scheme become others; another exception, or much memory, is a fault."""
    draw, messages = random.Random(1), []
    for number in range(200):
        target = integers if number % 20 == 0 else path
        content = target.read_bytes()

        def change(_: Tensors, metadata: dict[str, Any]) -> None:
            container, key = draw.choice(_places(metadata))
            container[key] = copy.deepcopy(draw.choice(ODD))

        rewritten(target, change)
        try:
            load(target, None if number % 3 else tiny)
        except CheckpointError as error:
            messages.append(str(error))
        target.write_bytes(content)
    assert 100 < len(messages) < 200
    assert not any("\n" in text for text in messages)
