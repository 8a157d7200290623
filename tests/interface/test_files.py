"""Networks in files: saved and loaded by the public functions, and used afterwards."""

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ehap.errors import ArchitectureError, ArgumentError, CheckpointError, MismatchError, NumericsError, PlanError
from ehap.graph.channels import channel_graph
from ehap.interface.files import load, save
from ehap.models import build_model
from ehap.pruning import PruningPlan, prune
from ehap.pruning.plan import Order
from tests.pruning.plans import random_plan

SHAPE = (3, 8, 8)


def plan_for(model: nn.Module, seed: int = 0, order: Order = "sorted") -> PruningPlan:
    """Return a random plan."""
    return PruningPlan(random_plan(model, seed), channel_graph(model).widths(), 1, 1, 1, 1, SHAPE, order)


@pytest.fixture
def images(batch: tuple[Tensor, Tensor]) -> Tensor:
    return batch[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "network.safetensors"


@torch.no_grad()
@pytest.mark.parametrize("order", ["sorted", "set"])
@pytest.mark.parametrize("seed", range(4))
def test_a_pruned_network_comes_back_by_itself_and_from_the_dense_one(
    seed: int, order: Order, tiny: nn.Module, images: Tensor, path: Path
) -> None:
    plan = plan_for(tiny, seed, order)
    small = prune(tiny, plan).train()
    before = {name: each.clone() for name, each in small.state_dict().items()}
    save(small, plan, str(path))
    assert small.training
    assert all(torch.equal(each, before[name]) for name, each in small.state_dict().items())
    random = torch.random.get_rng_state()
    for model in (None, tiny, copy.deepcopy(tiny).train()):
        found = load(path, model)
        assert torch.equal(found(images), small.eval()(images))
        assert found.state_dict().keys() == small.state_dict().keys()
        assert not any(module.training for module in found.modules())
        assert all(each.requires_grad for each in found.parameters())
    assert torch.equal(torch.random.get_rng_state(), random)


@torch.no_grad()
def test_a_dense_network_comes_back(tiny: nn.Module, images: Tensor, path: Path) -> None:
    save(tiny, None, path, example=images)
    assert torch.equal(load(path)(images), tiny(images))
    other = copy.deepcopy(tiny)
    nn.init.zeros_(other.conv1.weight)
    found = load(path, other)
    assert type(found) is type(tiny)
    assert torch.equal(found(images), tiny(images))
    assert not other.conv1.weight.any()


def test_the_same_network_is_the_same_file(tiny: nn.Module, images: Tensor, path: Path) -> None:
    plan = plan_for(tiny)
    save(prune(tiny, plan), plan, path)
    content = path.read_bytes()
    assert b"__reduce__" not in content
    save(prune(tiny, plan), plan, path)
    assert path.read_bytes() == content
    save(load(path), plan, path, example=images)
    assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_network_that_was_trained_on_comes_back_in_its_own_type(tiny: nn.Module, images: Tensor, path: Path) -> None:
    plan = plan_for(tiny)
    small = prune(tiny, plan).double()
    _step(small, images.double())
    save(small, plan, path)
    for model in (None, tiny):
        found = load(path, model)
        assert next(found.parameters()).dtype == torch.float64
        assert torch.equal(found(images.double()), small.eval()(images.double()))
        assert found.state_dict()["bn1.num_batches_tracked"].item() == small.state_dict()["bn1.num_batches_tracked"]


def _step(network: nn.Module, images: Tensor) -> None:
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.1)
    network(images).square().mean().backward()
    optimizer.step()


@pytest.fixture
def loaded(tiny: nn.Module, path: Path) -> nn.Module:
    plan = plan_for(tiny)
    save(prune(tiny, plan), plan, path)
    return load(path)


def test_a_loaded_network_can_be_trained_on(loaded: nn.Module, images: Tensor, path: Path) -> None:
    before = {name: each.clone() for name, each in loaded.state_dict().items()}
    content = path.read_bytes()
    _step(loaded, images)
    changed = {name for name, each in loaded.state_dict().items() if not torch.equal(each, before[name])}
    assert changed == before.keys()
    assert path.read_bytes() == content


@torch.no_grad()
def test_a_loaded_network_does_not_depend_on_its_file_any_more(loaded: nn.Module, images: Tensor, path: Path) -> None:
    wanted = loaded(images)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(loaded(images), wanted)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:The TorchScript type system")  # torch says so of its own GraphModule
def test_a_loaded_network_can_be_compiled_scripted_and_exported(loaded: nn.Module, images: Tensor) -> None:
    wanted = loaded(images)
    assert torch.equal(torch.compile(loaded, backend="eager")(images), wanted)
    assert torch.equal(torch.jit.script(loaded)(images), wanted)
    assert torch.equal(torch.export.export(loaded, (images,)).module()(images), wanted)
    assert torch.equal(copy.deepcopy(loaded)(images), wanted)


@torch.no_grad()
def test_modules_are_found_where_the_model_has_them(path: Path) -> None:
    model = build_model("resnet20", 10, seed=0).eval()
    plan = replace(plan_for(model), input_shape=(3, 32, 32))
    small = prune(model, plan)
    save(small, plan, path)
    for found in (load(path), load(path, model)):
        assert torch.equal(found.layer1[0].conv1.weight, small.layer1[0].conv1.weight)
        assert len(found.layer1) == len(model.layer1)


def test_parameters_that_are_frozen_in_the_model_stay_so(tiny: nn.Module, path: Path) -> None:
    plan = plan_for(tiny)
    save(prune(tiny, plan), plan, path)
    tiny.conv1.requires_grad_(False)
    frozen = [name for name, each in load(path, tiny).named_parameters() if not each.requires_grad]
    assert frozen == ["conv1.weight"]


@torch.no_grad()
def test_a_loaded_network_can_be_pruned_again(loaded: nn.Module, images: Tensor, path: Path) -> None:
    plan = plan_for(loaded, seed=1)
    smaller = prune(loaded, plan, example=images)
    save(smaller, plan, path)
    for model in (None, loaded):
        assert torch.equal(load(path, model)(images), smaller(images))


ALONE = """
import sys, torch, ehap
found = ehap.load(sys.argv[1])
assert not {"tests", "torchao", "torchvision", "onnx", "pandas", "yaml", "snakemake", "scipy"} & set(sys.modules)
assert torch.equal(found(torch.load(sys.argv[2])), torch.load(sys.argv[3]))
"""


@torch.no_grad()
def test_a_file_needs_neither_the_code_of_the_network_nor_other_packages(
    tiny: nn.Module, images: Tensor, path: Path, tmp_path: Path
) -> None:
    class Local(type(tiny)):  # type: ignore[misc]
        pass

    local = Local()
    local.load_state_dict(tiny.state_dict())
    plan = plan_for(local.eval())
    small = prune(local, plan)
    save(small, plan, path)
    torch.save(images, tmp_path / "images")
    torch.save(small(images), tmp_path / "answers")
    arguments = [str(path), str(tmp_path / "images"), str(tmp_path / "answers")]
    subprocess.run([sys.executable, "-c", ALONE, *arguments], check=True, cwd=Path(__file__).parents[2])


class WithMore(nn.Module):
    """A network with a part that its forward pass does not use."""

    def __init__(self, other: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3), other or nn.ReLU()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x))


def test_parts_that_are_not_used_stay_those_of_the_model(images: Tensor, path: Path) -> None:
    model, other = WithMore().eval(), WithMore().eval()
    save(model, None, path, example=images)
    assert "head.weight" not in load(path).state_dict()
    found = load(path, other)
    assert torch.equal(found.conv.weight, model.conv.weight)
    assert torch.equal(found.head.weight, other.head.weight)


def _wider(model: nn.Module) -> nn.Module:
    other = copy.deepcopy(model)
    other.fc = nn.Linear(24, 6)
    return other


def _with(model: nn.Module, name: str, module: nn.Module) -> nn.Module:
    other = copy.deepcopy(model)
    setattr(other, name, module)
    return other


OTHERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "other layers": lambda model: WithMore(),
    "other outputs": _wider,
    "another activation": lambda model: _with(model, "relu", nn.ReLU6()),
    "another pooling of the same shape": lambda model: _with(model, "pool", nn.MaxPool2d(2)),
    "another epsilon": lambda model: _with(model, "bn1", nn.BatchNorm2d(4, eps=1e-3)),
    "an unknown operation": lambda model: _with(model, "relu", nn.Softmax(1)),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("pruned", [True, False])
def test_another_model_is_refused(name: str, pruned: bool, tiny: nn.Module, images: Tensor, path: Path) -> None:
    plan = plan_for(tiny) if pruned else None
    save(tiny if plan is None else prune(tiny, plan), plan, path, example=images)
    with pytest.raises(CheckpointError, match="the given model is another network") as raised:
        load(path, OTHERS[name](tiny))
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def _nan(model: nn.Module) -> nn.Module:
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.block1.conv1.weight[0, 0, 0, 0] = float("nan")
    return other


class Deceiving(WithMore):
    """Computes something else when it is called than when it is traced."""

    def forward(self, x: Tensor) -> Tensor:
        found = super().forward(x)
        return found + found if type(x) is Tensor else found


MISTAKES: dict[str, tuple[Callable[[nn.Module, Path, Tensor], object], type[Exception], str]] = {
    "no network": (lambda model, path, x: save({}, None, path), ArgumentError, "torch.nn.Module"),
    "no plan": (lambda model, path, x: save(model, {"conv1": [0]}, path), ArgumentError, "a plan of ehap.plan"),
    "no shape": (lambda model, path, x: save(model, None, path), ArgumentError, "example=images"),
    "no folder": (
        lambda model, path, x: save(model, None, path.parent / "none/a", example=x),
        ArgumentError,
        "existing folder",
    ),
    "a folder": (lambda model, path, x: save(model, None, path.parent, example=x), ArgumentError, "is a folder"),
    "no path": (lambda model, path, x: save(model, None, None, example=x), ArgumentError, "path of a file"),
    "NaN": (lambda model, path, x: save(_nan(model), None, path, example=x), NumericsError, "block1.conv1.weight"),
    "the plan with the dense network": (
        lambda model, path, x: save(model, plan_for(model), path),
        PlanError,
        "the plan is for another network",
    ),
    "half": (lambda model, path, x: save(model.half(), None, path, example=x), ArchitectureError, "float32"),
    "unknown operation": (
        lambda model, path, x: save(_with(model, "relu", nn.Softmax(1)), None, path, example=x),
        ArchitectureError,
        "relu: Softmax",
    ),
    "misread": (lambda model, path, x: save(Deceiving(), None, path, example=x), MismatchError, "copy"),
    "no values": (lambda model, path, x: load(path, model.to("meta")), ArchitectureError, "no values"),
    "no path to load": (lambda model, path, x: load(7), ArgumentError, "path of a file"),
    "no model": (lambda model, path, x: load(path, "resnet20"), ArgumentError, "torch.nn.Module"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line_and_write_nothing(name: str, tiny: nn.Module, images: Tensor, path: Path) -> None:
    call, kind, words = MISTAKES[name]
    with pytest.raises(kind, match=words) as raised:
        call(tiny, path, images)
    assert "\n" not in str(raised.value)
    assert not list(path.parent.iterdir())
