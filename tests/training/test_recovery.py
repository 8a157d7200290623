"""Distillation and recalibration: what helps a pruned network to recover."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ehap.data import DATASETS, plain_batches
from ehap.settings import Finetune
from ehap.training import Distillation, fit, recalibrate_, true_labels

INFO = DATASETS["digits"]


def _images(count: int) -> Tensor:
    return torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_distillation_is_the_formula_of_hinton(tiny: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    student = copy.deepcopy(tiny).double()
    with torch.no_grad():
        student.fc.weight.mul_(0.7)
    inputs, targets = batch[0].double(), batch[1]
    logits, weight, temperature = student(inputs), 0.3, 2.5
    found = Distillation(copy.deepcopy(tiny).double(), weight, temperature, "fp32")(inputs, logits, targets)
    teacher = (tiny.double()(inputs).float().double() / temperature).softmax(1)
    divergence = (teacher * (teacher.log() - (logits / temperature).log_softmax(1))).sum(1).mean()
    labels = -logits.log_softmax(1)[torch.arange(len(targets)), targets].mean()
    assert found.item() == pytest.approx((0.7 * labels + 0.3 * temperature**2 * divergence).item(), rel=1e-6)
    alone = Distillation(copy.deepcopy(tiny).double(), 0.0, 1.0, "fp32")(inputs, logits, targets)
    assert alone.item() == pytest.approx(true_labels(inputs, logits, targets).item())


def test_a_student_comes_nearer_to_its_teacher_and_the_teacher_stays_as_it_was(tiny: nn.Module) -> None:
    teacher = copy.deepcopy(tiny)
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    images, labels = _images(64), torch.randint(5, (64,), generator=torch.Generator().manual_seed(1))
    student = copy.deepcopy(tiny)
    with torch.no_grad():
        student.fc.weight.neg_()
    settings = Finetune(epochs=12, learning_rate=0.02, batch_size=16, weight_decay=0, momentum=0.5)
    objective = Distillation(teacher, 1.0, 2.0, "fp32")
    history = fit(student, (images, labels), INFO, settings, 0, lambda _: 0.0, objective=objective)
    assert history[-1].train_loss < 0.5 * history[0].train_loss
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert not teacher.training


def test_recalibration_gives_the_statistics_of_the_images_and_changes_nothing_else(tiny: nn.Module) -> None:
    images = _images(40)
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    recalibrate_(tiny, images, INFO, count=1000, seed=3)
    inputs, _ = next(iter(plain_batches(images, torch.zeros(40, dtype=torch.int64), INFO)))
    features = tiny.conv1(inputs)
    assert torch.allclose(tiny.bn1.running_mean, features.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(tiny.bn1.running_var, features.var((0, 2, 3)), rtol=1e-3)
    changed = {name for name, tensor in tiny.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.rsplit(".", 1)[1] for name in changed} == {"running_mean", "running_var", "num_batches_tracked"}
    assert not tiny.training
    assert tiny.bn1.momentum == 0.1


def test_recalibration_draws_as_many_images_as_it_is_told(tiny: nn.Module) -> None:
    images, seen = _images(300), []
    tiny.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    recalibrate_(tiny, images, INFO, count=100, seed=0)
    assert sum(seen) == 100
    first, second = copy.deepcopy(tiny), copy.deepcopy(tiny)
    recalibrate_(first, images, INFO, count=100, seed=0)
    recalibrate_(second, images, INFO, count=100, seed=1)
    assert not torch.equal(first.bn1.running_mean, second.bn1.running_mean)
