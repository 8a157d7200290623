"""Distillation and recalibration: what helps a pruned network to recover."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ehap.data import DATASETS, augment, draw_augmentation, normalise
from ehap.errors import DataError, NumericsError, SettingsError
from ehap.repair.distillation import agreement, distill, passes
from ehap.settings import Finetune, Reconstruct, Training
from ehap.training import Distillation, fit, recalibrate_, true_labels
from ehap.training.loop import scheduled
from tests.checkpointers import Memory

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


def test_recalibration_gives_the_statistics_of_images_as_in_training_and_changes_nothing_else(tiny: nn.Module) -> None:
    images = _images(40)
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    recalibrate_(tiny, images, INFO, count=1000, seed=3)
    generator = torch.Generator().manual_seed(3)
    order = torch.randperm(40, generator=generator)
    shown = images[order]
    inputs = normalise(augment(shown, *draw_augmentation(shown, generator, INFO.flip)), INFO)
    features = tiny.conv1(inputs)
    plain = tiny.conv1(normalise(images, INFO))
    assert not torch.allclose(features.mean((0, 2, 3)), plain.mean((0, 2, 3)), atol=1e-2)
    assert torch.allclose(tiny.bn1.running_mean, features.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(tiny.bn1.running_var, features.var((0, 2, 3)), rtol=1e-3)
    changed = {name for name, tensor in tiny.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.rsplit(".", 1)[1] for name in changed} == {"running_mean", "running_var", "num_batches_tracked"}
    assert not tiny.training
    assert tiny.bn1.momentum == 0.1


def test_every_image_counts_alike_in_recalibration(tiny: nn.Module) -> None:
    """Images that are black but for the last ones drawn, which would be a batch of their own."""
    order = torch.randperm(501, generator=torch.Generator().manual_seed(0))
    images = torch.zeros(501, 3, 8, 8, dtype=torch.uint8)
    images[order[-1]] = 255
    recalibrate_(tiny, images, INFO, count=501, seed=0)
    dark, bright = (tiny.conv1(normalise(images[which][None], INFO)).mean((0, 2, 3)) for which in order[[0, -1]])
    farthest = (bright - dark).abs().max()
    assert (tiny.bn1.running_mean - dark).abs().max() < farthest / 200


def test_recalibration_draws_as_many_images_as_it_is_told(tiny: nn.Module) -> None:
    images, seen = _images(300), []
    tiny.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    recalibrate_(tiny, images, INFO, count=100, seed=0)
    assert sum(seen) == 100
    first, second = copy.deepcopy(tiny), copy.deepcopy(tiny)
    recalibrate_(first, images, INFO, count=100, seed=0)
    recalibrate_(second, images, INFO, count=100, seed=1)
    assert not torch.equal(first.bn1.running_mean, second.bn1.running_mean)


def test_a_network_learns_from_the_dense_one_without_labels_and_without_changing_it(tiny: nn.Module) -> None:
    dense, images = copy.deepcopy(tiny).train(), _images(50)
    before = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    student = copy.deepcopy(tiny)
    with torch.no_grad():
        student.fc.weight.neg_()
    settings = Reconstruct(images=50, distill_steps=60, batch_size=16, temperature=2, learning_rate=0.02)
    history = distill(dense, student, images, INFO, settings, seed=0)
    assert len(history) == 15  # of 4 batches each
    assert history[-1].train_loss < 0.3 * history[0].train_loss
    assert history[-1].train_accuracy > history[0].train_accuracy  # agreement with the dense network
    assert all(torch.equal(tensor, before[name]) for name, tensor in dense.state_dict().items())
    assert not dense.training
    assert not student.training
    assert agreement(dense, student, images, INFO) > 50
    assert agreement(dense, dense, images, INFO) == 100
    again = copy.deepcopy(tiny)
    with torch.no_grad():
        again.fc.weight.neg_()
    distill(dense, again, images, INFO, settings, seed=0)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in student.state_dict().items())


@pytest.mark.parametrize(
    ("images", "batch_size", "epochs", "warmup"), [(2000, 128, 19, 2), (64, 64, 300, 30), (8000, 128, 5, 1)]
)
def test_steps_are_rounded_to_passes_over_the_images(images: int, batch_size: int, epochs: int, warmup: int) -> None:
    training = passes(Reconstruct(images=images), images)
    assert (training.batch_size, training.epochs, training.warmup_epochs) == (batch_size, epochs, warmup)


def test_the_learning_rate_grows_in_the_warmup_and_falls_after_it() -> None:
    settings = Training(epochs=10, learning_rate=0.3, warmup_epochs=2)
    rates = [scheduled(settings, done) for done in range(10)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[1] == pytest.approx(2 / 3 * scheduled(Training(epochs=10, learning_rate=0.3), 1))
    assert rates[2:] == [scheduled(Training(epochs=10, learning_rate=0.3), done) for done in range(2, 10)]
    assert rates[0] < rates[1] < rates[2] > rates[3] > rates[9] > 0


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (_images(1), "at least 2 images to learn from, got 1"),
        (normalise(_images(4), INFO), r"\(N, 3, H, W\) as raw pixels, uint8, got \(4, 3, 8, 8\) of torch.float32"),
        (_images(4)[:, :1], r"\(N, 3, H, W\) as raw pixels, uint8, got \(4, 1, 8, 8\) of torch.uint8"),
    ],
)
def test_images_of_another_form_are_not_learnt_from(tiny: nn.Module, images: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        distill(tiny, copy.deepcopy(tiny), images, INFO, Reconstruct(images=4), seed=0)


def test_networks_that_can_not_learn_from_each_other_are_refused_before_any_step(tiny: nn.Module) -> None:
    def refused(error: type[Exception], message: str, images: Tensor, **settings: int) -> None:
        weights = copy.deepcopy(student.state_dict())
        with pytest.raises(error, match=message):
            distill(tiny, student, images, INFO, Reconstruct(images=4, **settings), seed=0)
        assert all(torch.equal(weights[name], value) for name, value in student.state_dict().items())

    student = copy.deepcopy(tiny)
    refused(SettingsError, "distill_steps must be at least 1 to distill, got 0", _images(4), distill_steps=0)
    larger = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    refused(DataError, r"expected networks that take images of shape \(3, 16, 16\), but .*mat1 and mat2", larger)
    student.fc = nn.Linear(24, 7)
    refused(DataError, "the same classes apart, got 5 of the teacher and 7 of the student", _images(4))
    student = copy.deepcopy(tiny)
    images = _images(4)
    images[:3], images[3] = 0, 255
    tiny.register_forward_hook(lambda _, inputs, outputs: outputs / (inputs[0] < 0).any((1, 2, 3))[:, None])
    refused(NumericsError, "of the dense network, but those to 1 of 4 images are NaN or infinite", images)
    with pytest.raises(NumericsError, match="of the other network, but those to 1 of 4 images are NaN or infinite"):
        agreement(student, tiny, images, INFO)


class _Never(Memory):
    """No state is due."""

    def due(self) -> bool:
        return False


def test_passes_are_kept_when_a_state_is_due_only(tiny: nn.Module) -> None:
    settings = Reconstruct(images=4, distill_steps=20, batch_size=4)
    for checkpointer, states in ((_Never(), 0), (Memory(), 40)):  # after each batch, and after each pass of one batch
        assert (
            len(distill(tiny, copy.deepcopy(tiny), _images(4), INFO, settings, seed=0, checkpointer=checkpointer)) == 20
        )
        assert len(checkpointer.states) == states


def test_a_single_pass_has_no_warmup_and_the_log_says_so(tiny: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    settings = Reconstruct(images=16, distill_steps=3, batch_size=4)
    distill(tiny, copy.deepcopy(tiny), _images(16), INFO, settings, seed=0)
    assert "distill_steps are 1 pass over the images: there is no warm-up" in caplog.text
