"""Exact curvature against the dense Hessian, which is had by other means."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ehap.curvature import Partial, channel_scores, channel_traces, partial_traces
from ehap.curvature.dense import dense_channel_traces, dense_hessian
from ehap.curvature.factors import loss_factors, sketch_of_rest
from ehap.curvature.partial import image_sum
from ehap.graph.layers import layer_weights
from ehap.models import build_model
from ehap.settings import Trace
from ehap.settings.criteria import FROM_CURVATURE
from tests.conftest import TinyResNet

Batch = tuple[Tensor, Tensor]
EXACT = Trace(batch_size=12, estimator="exact", micro_batch=5)
CRITERIA = FROM_CURVATURE
EVERYTHING = replace(EXACT, criteria=CRITERIA)


class Grouped(nn.Module):
    """Grouped, depthwise, dilated, strided and reflecting convolutions, biases, a linear layer inside, no norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect")
        self.grouped = nn.Conv2d(6, 4, 3, padding=2, dilation=2, groups=2, bias=False)
        self.depthwise = nn.Conv2d(4, 8, 3, stride=2, groups=4)
        self.inner = nn.Linear(8, 7)
        self.fc = nn.Linear(7, 5)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.depthwise(self.relu(self.grouped(self.relu(self.first(x))))))
        return self.fc(nn.functional.leaky_relu(self.inner(x.mean((2, 3)))))


@pytest.fixture(params=["residual", "grouped"])
def network(request: pytest.FixtureRequest, enliven: Callable[[nn.Module], None]) -> nn.Module:
    model = TinyResNet() if request.param == "residual" else Grouped()
    enliven(model)
    return model.eval()


def _dense_scores(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, dict[str, Tensor]]:
    """Trace, diagonal and block of every channel, read off the dense Hessian."""
    hessian = dense_hessian(model, images, labels)
    scores: dict[str, dict[str, Tensor]] = {"trace": {}, "diagonal": {}, "block": {}}
    start = 0
    for name, weight in layer_weights(model).items():
        rows, size = weight.detach().flatten(1), weight[0].numel()
        blocks = [hessian[at : at + size, at : at + size] for at in range(start, start + weight.numel(), size)]
        start += weight.numel()
        scores["trace"][name] = torch.stack([block.trace() for block in blocks])
        scores["diagonal"][name] = torch.stack(
            [(block.diagonal() * row**2).sum() / 2 for block, row in zip(blocks, rows, strict=True)]
        )
        scores["block"][name] = torch.stack([row @ block @ row / 2 for block, row in zip(blocks, rows, strict=True)])
    return scores


def _gated_loss(
    model: nn.Module, images: Tensor, labels: Tensor, name: str, norm: str | None
) -> Callable[[Tensor], Tensor]:
    """The loss as a function of a gate on each output channel of a layer (behind its norm)."""
    gated = model.get_submodule(norm or name)

    def loss(gates: Tensor) -> Tensor:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output * (gates.view(-1, 1, 1) if output.dim() == 4 else gates)

        handle = gated.register_forward_hook(hook)
        try:
            return cross_entropy(functional_call(model, {}, (images,)), labels)
        finally:
            handle.remove()

    return loss


def _ones(model: nn.Module, name: str) -> Tensor:
    return torch.ones(model.get_parameter(f"{name}.weight").shape[0], dtype=torch.float64)


def _assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Compare layer by layer, relative to each value, or to the layer's largest where a value is next to nothing."""
    for name, values in expected.items():
        slack = tolerance * torch.maximum(values.abs(), 1e-3 * values.abs().max())
        assert ((found[name] - values).abs() <= slack).all(), name


def test_trace_diagonal_and_block_are_those_of_the_dense_hessian(network: nn.Module, batch: Batch) -> None:
    model = copy.deepcopy(network).double()
    expected = _dense_scores(model, batch[0].double(), batch[1])
    found = channel_traces(model, batch[0].double(), batch[1], EVERYTHING).scores
    in_fp32 = channel_traces(network, *batch, EVERYTHING).scores
    for criterion in ("trace", "diagonal", "block"):
        _assert_close(found[criterion], expected[criterion], 1e-9)
        _assert_close(in_fp32[criterion], expected[criterion], 1e-4)


def test_gates_are_those_of_differentiating_twice(network: nn.Module, batch: Batch) -> None:
    model, images = copy.deepcopy(network).double(), batch[0].double()
    norms = {"conv1": "bn1", "block2.conv2": "block2.bn2"} if isinstance(network, TinyResNet) else {}
    found = channel_scores(model, images, batch[1], "gate")["gate"]
    for name in norms or ("first", "grouped", "depthwise", "inner", "fc"):
        loss = _gated_loss(model, images, batch[1], name, norms.get(name))
        expected = torch.func.hessian(loss)(_ones(model, name)).diagonal() / 2
        _assert_close({name: found[name]}, {name: expected}, 1e-9)


def test_fisher_and_taylor_are_those_of_every_images_own_gradient(network: nn.Module, batch: Batch) -> None:
    model, images = copy.deepcopy(network).double(), batch[0].double()
    norms = {"conv1": "bn1", "block2.conv2": "block2.bn2"} if isinstance(network, TinyResNet) else {}
    found = channel_traces(model, images, batch[1], EVERYTHING).scores
    for name in norms or ("first", "grouped", "depthwise", "inner", "fc"):
        gradients = torch.stack(
            [
                torch.func.grad(_gated_loss(model, images[n : n + 1], batch[1][n : n + 1], name, norms.get(name)))(
                    _ones(model, name)
                )
                for n in range(len(images))
            ]
        )
        _assert_close({name: found["fisher"][name]}, {name: gradients.square().mean(0) / 2}, 1e-9)
        _assert_close({name: found["taylor"][name]}, {name: gradients.abs().mean(0)}, 1e-9)


def test_what_a_pass_computes_does_not_depend_on_what_else_it_computes(tiny: nn.Module, batch: Batch) -> None:
    together = channel_traces(tiny, *batch, EVERYTHING).scores
    for criterion in CRITERIA:
        alone = channel_traces(tiny, *batch, replace(EXACT, criteria=(criterion,))).scores
        assert set(alone) == {criterion}
        _assert_close(alone[criterion], together[criterion], 1e-5)


def test_some_channels_of_resnet20_by_brute_force(enliven: Callable[[nn.Module], None]) -> None:
    model = build_model("resnet20", 10, seed=0).double()
    enliven(model)
    model.eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=generator)
    labels = torch.tensor([3, 7])
    traces = channel_traces(model, images, labels, Trace(batch_size=2, estimator="exact")).trace
    for name, channel in (("conv1", 5), ("layer2.0.conv1", 0), ("fc", 3)):
        weight = model.get_parameter(f"{name}.weight")
        gradient = torch.autograd.grad(cross_entropy(model(images), labels), weight, create_graph=True)[0][channel]
        flat = gradient.flatten()
        rows = [torch.autograd.grad(item, weight, retain_graph=True)[0][channel].flatten() for item in flat]
        expected = sum(row[index].item() for index, row in enumerate(rows))
        assert traces[name][channel].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("micro_batch", [1, 4, 12])
def test_the_size_of_a_chunk_changes_nothing(tiny: nn.Module, batch: Batch, micro_batch: int) -> None:
    settings = Trace(batch_size=12, estimator="exact", micro_batch=micro_batch)
    found, expected = (channel_traces(tiny.double(), batch[0].double(), batch[1], one) for one in (settings, EXACT))
    _assert_close(found.trace, expected.trace, 1e-12)
    assert all((error == 0).all() for error in found.standard_error.values())
    assert found.samples == 0


def test_bf16_gives_the_traces_to_its_rounding(tiny: nn.Module, batch: Batch) -> None:
    half = channel_traces(tiny, *batch, Trace(batch_size=12, estimator="exact", precision="bf16")).trace
    _assert_close(half, channel_traces(tiny, *batch, EXACT).trace, 0.1)


@pytest.mark.parametrize(("pool", "factor"), [(nn.AdaptiveAvgPool2d(1), 1e-4), (nn.AdaptiveMaxPool2d(1), 1e4)])
def test_fp16_scales_gradients_that_are_too_small_or_too_large_for_it(
    batch: Batch, pool: nn.Module, factor: float
) -> None:
    """Small last weights behind pooling over many positions, and large ones behind a maximum."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), pool, nn.Flatten(), nn.Linear(4, 5))
    with torch.no_grad():
        model[4].weight.mul_(factor)
        model[4].bias.zero_()  # block takes it out of an output in which it would be all
        model[0].weight.div_(max(1, factor))  # so that the logits do not grow
        model[0].bias.zero_()
    settings = replace(EVERYTHING, precision="fp16")
    found, expected = (channel_traces(model, *batch, one).scores for one in (settings, EVERYTHING))
    for criterion in CRITERIA:
        _assert_close(found[criterion], expected[criterion], 0.05)


def test_factors_give_the_hessian_of_cross_entropy_in_the_logits() -> None:
    logits = 3 * torch.randn(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    columns = loss_factors(logits)
    assert columns.shape == (6, 6, 7)  # C − 1 columns
    for index, row in enumerate(logits):
        hessian = torch.func.hessian(lambda z: cross_entropy(z[None], torch.tensor([0])))(row)
        assert torch.allclose(columns[:, index].T @ columns[:, index], hessian, atol=1e-12)


def test_fewer_columns_leave_out_no_more_than_the_tolerance_and_the_sketch_stands_for_them() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 20, dtype=torch.float64, generator=generator)
    columns, every = loss_factors(logits, 0.3), loss_factors(logits)
    kept, whole = columns.square().sum((0, 2)), every.square().sum((0, 2))
    assert 1 <= len(columns) < len(every)
    assert (kept >= 0.7 * whole).all()
    assert (columns[:-1].square().sum((0, 2)) < 0.7 * whole).any()  # one less would not do for every image
    signs = torch.randint(2, (4000, 5, 20), generator=generator) * 2.0 - 1
    sketches = torch.stack([sketch_of_rest(logits, columns, sign.double()) for sign in signs])
    mean = torch.einsum("rnc,rnd->ncd", sketches, sketches) / len(sketches)
    rest = torch.einsum("knc,knd->ncd", every, every) - torch.einsum("knc,knd->ncd", columns, columns)
    assert (mean - rest).abs().max() < 0.05 * rest.abs().max()


def _claimed_error(part: Partial, criterion: str, copy: int) -> Tensor:
    """The standard error that one of 200 copies of twelve images, alone, would give."""
    rows = {name: 200 * each[copy, None] for name, each in part.rows.items()}
    scale = torch.tensor([[200.0], [200.0**2]])
    sketch = {name: scale * each[copy, None] for name, each in part.sketch.items()}
    return image_sum(Partial(0, 1, rows, sketch), criterion, 12)[1]


def test_traces_with_a_sketch_are_unbiased_and_their_standard_error_covers_the_spread(
    tiny: nn.Module, batch: Batch
) -> None:
    exact = channel_traces(tiny, *batch, EVERYTHING).scores
    expected = {criterion: torch.cat(list(values.values())) for criterion, values in exact.items()}
    # One job over 200 copies of the batch, a copy a chunk: every chunk has a sketch of its own, and is an estimate.
    settings = replace(EVERYTHING, batch_size=2400, micro_batch=12, eigen_tolerance=0.5)
    part = partial_traces(tiny, batch[0].repeat(200, 1, 1, 1), batch[1].repeat(200), settings)
    for criterion in CRITERIA:
        means = 200 * part.rows[criterion]
        claimed = torch.stack([_claimed_error(part, criterion, copy) for copy in range(200)])
        spread = means.std(0)
        if criterion in ("fisher", "taylor"):
            assert (claimed == 0).all()
            continue
        assert spread.max() > 0
        assert ((means.mean(0) - expected[criterion]).abs() <= 4 * spread / 200**0.5 + 1e-5 * expected[criterion]).all()
        ratio = claimed.square().mean(0).sqrt() / spread
        assert (ratio[spread > 0] >= 0.8).all()  # an upper bound in expectation,
        assert ratio[spread > 0].median() < 5  # and not an idle one


def test_columns_in_blocks_give_the_scores_of_all_at_once(
    tiny: nn.Module, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(EXACT, criteria=CRITERIA, eigen_tolerance=0.05)
    whole = channel_traces(tiny, *batch, settings)
    monkeypatch.setattr("ehap.curvature.exact.BLOCK_BYTES", (1, 1))  # a column at a time
    blocks = channel_traces(tiny, *batch, settings)
    for criterion in CRITERIA:
        for name, values in whole.scores[criterion].items():
            assert torch.allclose(blocks.scores[criterion][name], values, rtol=1e-5, atol=1e-12)
            assert torch.allclose(blocks.errors[criterion][name], whole.errors[criterion][name], rtol=1e-4, atol=1e-12)


def test_sketches_of_distant_seeds_differ(tiny: nn.Module, batch: Batch) -> None:
    settings = replace(EXACT, eigen_tolerance=0.3)
    first, second = (channel_traces(tiny, *batch, settings, seed).trace["conv1"] for seed in (0, 256))
    assert not torch.equal(first, second)


def test_fp32_is_fp32_whatever_the_caller_casts(tiny: nn.Module, batch: Batch) -> None:
    expected = channel_traces(tiny, *batch, EXACT).trace
    with torch.autocast("cpu", torch.bfloat16):
        found = channel_traces(tiny, *batch, EXACT).trace
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_nothing_of_the_model_is_changed(tiny: nn.Module, batch: Batch) -> None:
    tiny.train()
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    state = torch.get_rng_state()
    channel_scores(tiny, *batch, *CRITERIA)
    assert tiny.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in tiny.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(module._forward_hooks for module in tiny.modules())


def test_traces_do_not_depend_on_the_mode_in_which_the_model_comes(tiny: nn.Module, batch: Batch) -> None:
    first = channel_traces(tiny, *batch, EXACT).trace
    second = channel_traces(copy.deepcopy(tiny).train(), *batch, EXACT).trace
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert set(first) == set(dense_channel_traces(copy.deepcopy(tiny), *batch))
