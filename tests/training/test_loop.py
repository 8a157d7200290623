import copy
import io

import pytest
import torch
from torch import Tensor, nn

from ehap.data import DATASETS
from ehap.errors import NumericsError
from ehap.quantization import simulate
from ehap.settings import Pretrain, Qat
from ehap.training import State, fit

INFO = DATASETS["digits"]


def _images(count: int = 48) -> tuple[Tensor, Tensor]:
    """Three classes told apart by which colour is bright."""
    labels = torch.arange(count) % 3
    images = torch.randint(60, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[torch.arange(count), labels] += 150
    return images, labels


def _fit(model: nn.Module, seed: int = 0, **changes: float) -> list[float]:
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
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
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


@pytest.mark.parametrize("simulated", [False, True])
def test_going_on_from_a_state_gives_the_weights_of_an_unbroken_run(tiny: nn.Module, simulated: bool) -> None:
    def network() -> nn.Module:
        model = copy.deepcopy(tiny)
        return simulate(model, Qat(epochs=4, learning_rate=0.05), (3, 8, 8)) if simulated else model

    settings = Pretrain(epochs=4, learning_rate=0.05, batch_size=16)
    states: list[bytes] = []

    def keep(state: State) -> None:
        content = io.BytesIO()
        torch.save(state, content)
        states.append(content.getvalue())

    whole, resumed = network(), network()
    history = fit(whole, _images(), INFO, settings, 0, lambda _: 0.0, keep=keep)
    start = torch.load(io.BytesIO(states[1]), weights_only=True)
    again = fit(resumed, _images(), INFO, settings, 0, lambda _: 0.0, start=start)
    assert [epoch.train_loss for epoch in again] == [epoch.train_loss for epoch in history]
    first, second = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
