import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ehap.data import DATASETS, draw_epoch
from ehap.errors import DeviceError, NumericsError, StoppedError
from ehap.settings import Pretrain, Scheme
from ehap.settings.machine import Step
from ehap.training import fit
from ehap.training.step import Stepper
from tests.checkpointers import Memory, loaded
from tests.conftest import enliven_

INFO = DATASETS["digits"]
STEPS: tuple[Step, ...] = ("eager", "compile")


def _images(count: int = 48) -> tuple[Tensor, Tensor]:
    """Three classes told apart by which colour is bright."""
    labels = torch.arange(count) % 3
    images = torch.randint(60, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[torch.arange(count), labels] += 150
    return images, labels


def _fit(model: nn.Module, seed: int = 0, **changes: Any) -> list[float]:
    settings = Pretrain(**{"epochs": 3, "learning_rate": 0.05, "batch_size": 16} | changes)
    return [epoch.train_loss for epoch in fit(model, _images(), INFO, settings, seed, lambda _: 50.0)]


def test_training_lowers_the_loss(tiny: nn.Module) -> None:
    losses = _fit(tiny, epochs=8)
    assert losses[-1] < 0.7 * losses[0]


def test_one_step_is_sgd_on_the_mean_cross_entropy(tiny: nn.Module) -> None:
    """One epoch of one batch against torch's own optimizer, on the very images that the loop saw."""
    seen: list[Tensor] = []
    reference = copy.deepcopy(tiny)
    tiny.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    fit(tiny, _images(), INFO, Pretrain(epochs=1, learning_rate=0.1, batch_size=48), 0, lambda _: 0.0)
    order = draw_epoch(_images()[0], torch.Generator().manual_seed(0), flip=False).order
    loss = nn.functional.cross_entropy(reference.train()(seen[0]), _images()[1][order])
    loss.backward()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True)
    optimizer.step()
    for ours, theirs in zip(tiny.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_learning_rate_follows_a_cosine_to_zero_per_epoch(tiny: nn.Module) -> None:
    history = fit(tiny, _images(), INFO, Pretrain(epochs=4, learning_rate=0.08), 0, lambda _: 0.0)
    expected = [0.08 * (1 + torch.cos(torch.tensor(torch.pi * epoch / 4)).item()) / 2 for epoch in range(4)]
    assert [epoch.learning_rate for epoch in history] == pytest.approx(expected)


def test_the_same_seed_gives_identical_weights_and_another_seed_others(tiny: nn.Module) -> None:
    models = [copy.deepcopy(tiny) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        _fit(model, seed=seed)
    first, again, other = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_divergence_is_an_error_with_epoch_and_learning_rate(tiny: nn.Module) -> None:
    with pytest.raises(NumericsError, match=r"the loss is nan in epoch \d at learning rate 1e\+30"):
        _fit(tiny, learning_rate=1e30)


def test_the_history_says_what_the_test_measured(tiny: nn.Module) -> None:
    values = iter([10.0, 30.0, 20.0])
    history = fit(tiny, _images(), INFO, Pretrain(epochs=3, learning_rate=0.01), 0, lambda _: next(values))
    assert [epoch.test_accuracy for epoch in history] == [10.0, 30.0, 20.0]
    assert all(0 <= epoch.train_accuracy <= 100 for epoch in history)


@pytest.mark.parametrize("kind", ["fp32", "bf16", "fp16", "simulated"])
def test_going_on_from_any_state_gives_the_weights_of_an_unbroken_run(tiny: nn.Module, kind: str) -> None:
    def network() -> nn.Module:
        model = copy.deepcopy(tiny)
        if kind != "simulated":
            return model
        from ehap.quantization import prepare_qat  # wants torchao, which the tests for a GPU below do without

        return prepare_qat(model, Scheme(), (3, 8, 8))

    precision = "fp32" if kind == "simulated" else kind
    settings = Pretrain(epochs=3, learning_rate=0.05, batch_size=20, precision=precision)
    whole = network()
    history = fit(whole, _images(), INFO, settings, 0, lambda _: 0.0, checkpointer=Memory())
    for stop_after in (1, 3, 4, 6, 9):  # 3 batches an epoch, and a state after each epoch's test
        broken, resumed = Memory(stop_after), network()
        with pytest.raises(StoppedError):
            fit(network(), _images(), INFO, settings, 0, lambda _: 0.0, checkpointer=broken)
        again = fit(resumed, _images(), INFO, settings, 0, lambda _: 0.0, checkpointer=Memory(start=broken.states[-1]))
        assert [epoch.train_loss for epoch in again] == [epoch.train_loss for epoch in history]
        assert [epoch.train_accuracy for epoch in again] == [epoch.train_accuracy for epoch in history]
        first, second = whole.state_dict(), resumed.state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_diverging_run_keeps_no_state_of_it(tiny: nn.Module) -> None:
    checkpointer = Memory()
    with pytest.raises(NumericsError, match="the loss is nan in epoch 1"):
        fit(
            tiny,
            _images(),
            INFO,
            Pretrain(epochs=1, learning_rate=1e30, batch_size=8),
            0,
            lambda _: 0.0,
            checkpointer=checkpointer,
        )
    last = loaded(checkpointer.states[-1])
    assert last["sums"].isfinite().all()


def test_half_precision_trains_as_fp32_does_to_its_rounding(tiny: nn.Module) -> None:
    fp32, bf16 = (_fit(copy.deepcopy(tiny), precision=precision, epochs=4) for precision in ("fp32", "bf16"))
    assert fp32 == pytest.approx(bf16, rel=0.05)
    assert fp32 != bf16


def test_fp16_skips_a_step_that_overflows_and_lowers_its_scale(tiny: nn.Module) -> None:
    settings = Pretrain(epochs=1, learning_rate=0.05, precision="fp16")
    stepper = Stepper(tiny.train(), torch.device("cpu"), settings)
    images, labels = torch.randn(8, 3, 8, 8), torch.zeros(8, dtype=torch.long)
    before = tiny.conv1.weight.detach().clone()
    scale = stepper.scaler.get_scale()
    tiny.conv1.weight.register_hook(lambda grad: grad * torch.inf)
    stepper(images, labels)
    assert torch.equal(tiny.conv1.weight, before)
    assert stepper.scaler.get_scale() == scale / 2


def test_fp16_that_never_gets_a_finite_gradient_is_an_error(tiny: nn.Module) -> None:
    tiny.conv1.weight.register_hook(lambda grad: grad * torch.inf)
    with pytest.raises(NumericsError, match="no FP16 gradient is finite in epoch 1"):
        _fit(tiny, precision="fp16", batch_size=1)


def test_every_epoch_is_reported_also_by_a_run_that_goes_on(tiny: nn.Module) -> None:
    settings, reported = Pretrain(epochs=3, learning_rate=0.05, batch_size=20), list[int]()
    broken = Memory(stop_after=6)  # in the second epoch
    with pytest.raises(StoppedError):
        fit(copy.deepcopy(tiny), _images(), INFO, settings, 0, lambda _: 0.0, checkpointer=broken)
    checkpointer = Memory(start=broken.states[-1])
    fit(
        tiny,
        _images(),
        INFO,
        settings,
        0,
        lambda _: 0.0,
        checkpointer=checkpointer,
        report=lambda one: reported.append(one.epoch),
    )
    assert reported == [1, 2, 3]


def test_a_compiled_step_is_the_eager_step(monkeypatch: pytest.MonkeyPatch) -> None:
    options, compiled = list[object](), torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **given: options.append(given) or compiled(model, **given))
    layers = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 3))
    enliven_(network)
    settings = Pretrain(epochs=1, learning_rate=0.05, batch_size=20)  # the last batch has 8 images
    models = {step: copy.deepcopy(network) for step in STEPS}
    for step, model in models.items():
        fit(model, _images(), INFO, settings, 0, lambda _: 0.0, step=step)
    assert options == [{"options": {"layout_optimization": False}}]
    eager, found = (model.state_dict() for model in models.values())
    assert list(eager) == list(found)
    assert all(torch.allclose(eager[name], found[name], rtol=1e-3, atol=1e-5) for name in eager)
    assert not torch.allclose(found["0.weight"], network.state_dict()["0.weight"], rtol=1e-3)


def test_graphs_need_a_gpu(tiny: nn.Module) -> None:
    with pytest.raises(DeviceError, match=r"machine\.step graphs needs a GPU, got the device cpu; set it to eager"):
        fit(tiny, _images(), INFO, Pretrain(epochs=1, learning_rate=0.1), 0, lambda _: 0.0, step="graphs")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_captured_steps_are_the_eager_steps(tiny: nn.Module, precision: str) -> None:
    settings = Pretrain(epochs=2, learning_rate=0.05, batch_size=20, precision=precision)
    images, labels = (tensor.cuda() for tensor in _images())
    steps: list[Step] = ["eager", "graphs"]
    models = [copy.deepcopy(tiny).cuda() for _ in steps]
    losses = [
        [epoch.train_loss for epoch in fit(model, (images, labels), INFO, settings, 0, lambda _: 0.0, step=step)]
        for model, step in zip(models, steps, strict=True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    eager, graphed = (model.state_dict() for model in models)
    assert all(torch.allclose(eager[name].float(), graphed[name].float(), rtol=1e-2, atol=1e-3) for name in eager)
    assert "forward" not in vars(models[1])


@pytest.mark.parametrize("native", [True, False])
def test_emulated_bf16_is_said(
    tiny: nn.Module, native: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: native)
    settings = Pretrain(epochs=1, learning_rate=0.05, precision="bf16")
    Stepper(tiny, torch.device("cpu"), settings)
    assert ("this processor emulates bf16" in caplog.text) is not native
