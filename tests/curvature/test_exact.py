"""Exact curvature against the dense Hessian, which is had by other means."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from ehap.curvature import channel_scores, channel_traces
from ehap.curvature.dense import dense_channel_traces, dense_hessian
from ehap.curvature.factors import loss_factors, sketch_of_rest
from ehap.curvature.frozen import channel_weights
from ehap.errors import ArchitectureError, DataError, NumericsError
from ehap.models import build_model
from ehap.settings import Trace
from ehap.settings.trace import Curvature
from tests.conftest import TinyResNet

Batch = tuple[Tensor, Tensor]
EXACT = Trace(batch_size=12, estimator="exact", micro_batch=5)
CRITERIA: tuple[Curvature, ...] = ("trace", "diagonal", "block", "gate", "fisher", "taylor")
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


class Twice(nn.Module):
    """A convolution that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.fc = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(torch.relu(self.conv(x))).mean((2, 3)))


class Gated(nn.Module):
    """Squeeze and excitation: a product of two activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.gate = nn.Linear(4, 4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        weights = torch.relu(self.gate(x.mean((2, 3))))
        return self.fc((x * weights[:, :, None, None]).mean((2, 3)))


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
    for name, weight in channel_weights(model).items():
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
        _assert_close({name: found[f"{name}.weight"]}, {name: expected}, 1e-9)


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
        _assert_close({name: found["fisher"][f"{name}.weight"]}, {name: gradients.square().mean(0) / 2}, 1e-9)
        _assert_close({name: found["taylor"][f"{name}.weight"]}, {name: gradients.abs().mean(0)}, 1e-9)


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
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=generator)
    labels = torch.tensor([3, 7])
    traces = channel_traces(model, images, labels, Trace(batch_size=2, estimator="exact")).trace
    for name, channel in (("conv1.weight", 5), ("layer2.0.conv1.weight", 0), ("fc.weight", 3)):
        weight = model.get_parameter(name)
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


def test_traces_with_a_sketch_are_unbiased_and_their_standard_error_covers_the_spread(
    tiny: nn.Module, batch: Batch
) -> None:
    exact = channel_traces(tiny, *batch, EVERYTHING).scores
    expected = {criterion: torch.cat(list(values.values())) for criterion, values in exact.items()}
    settings = replace(EVERYTHING, micro_batch=None, eigen_tolerance=0.5)
    runs = [channel_traces(tiny, *batch, settings, seed) for seed in range(200)]
    for criterion in CRITERIA:
        means = torch.stack([torch.cat(list(run.scores[criterion].values())) for run in runs])
        claimed = torch.stack([torch.cat(list(run.errors[criterion].values())) for run in runs])
        spread = means.std(0)
        if criterion in ("fisher", "taylor"):
            assert (claimed == 0).all()
            continue
        assert spread.max() > 0
        assert ((means.mean(0) - expected[criterion]).abs() <= 4 * spread / 200**0.5 + 1e-5 * expected[criterion]).all()
        ratio = claimed.square().mean(0).sqrt() / spread
        assert (ratio[spread > 0] >= 0.8).all()  # an upper bound in expectation,
        assert ratio[spread > 0].median() < 5  # and not an idle one


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Twice(), r"conv: its weight is used twice"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(144, 5)),
            "1: SiLU is not piecewise linear",
        ),
        (Gated(), "a product of two activations"),
    ],
)
def test_where_the_traces_would_not_be_the_hessians_the_module_is_named(
    model: nn.Module, message: str, batch: Batch
) -> None:
    with pytest.raises(ArchitectureError, match=message):
        channel_traces(model, *batch, EXACT)


@pytest.mark.parametrize("model", [Twice(), Gated()])
def test_gauss_newton_traces_may_be_had_knowingly(model: nn.Module, batch: Batch) -> None:
    """Against the Gauss–Newton matrix JᵀH_zJ by automatic differentiation."""
    model, images = copy.deepcopy(model).double(), batch[0].double()
    settings = Trace(batch_size=12, estimator="exact", approximate="gauss-newton")
    found = channel_traces(model, images, batch[1], settings).trace
    for name, weight in channel_weights(model).items():

        def logits(value: Tensor, name: str = name) -> Tensor:
            return functional_call(model, {name: value}, (images,))

        jacobian = torch.func.jacrev(logits)(weight.detach()).flatten(3)  # (N, classes, C, D)
        columns = loss_factors(model(images).detach())
        expected = torch.einsum("kni,nicd->kncd", columns, jacobian).square().sum((0, 1, 3)) / len(images)
        assert torch.allclose(found[name], expected, rtol=1e-9)


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


class Reused(nn.Module):
    """One convolution, called twice with a norm of its own each time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.two(self.conv(torch.relu(self.one(self.conv(x))))).mean((2, 3)))


class Hostile(nn.Module):
    """What a network may have that is easily overlooked: a norm without weights, and a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)
        self.unused = nn.Linear(4, 2)
        self.fc = nn.Linear(4, 5)
        self.register_buffer("factor", torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x))) * self.factor
        return self.fc(x.mean((2, 3)) / x.size(2))


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_unused_layers_and_norms_without_weights_are_no_obstacle(
    batch: Batch, enliven: Callable[[nn.Module], None], estimator: str
) -> None:
    model = Hostile()
    model.norm.running_var.fill_(0.5)
    model = model.double().eval()
    images = batch[0].double()
    expected = dense_channel_traces(copy.deepcopy(model), images, batch[1])
    with torch.no_grad():  # a caller may have switched gradients off
        settings = Trace(batch_size=12, estimator=estimator, samples=400)  # type: ignore[arg-type]
        found = channel_traces(model, images, batch[1], settings)
    assert (found.trace["unused.weight"] == 0).all()
    for name, values in expected.items():
        slack = 4.5 * found.standard_error[name] + 1e-9 * values.abs().max()
        assert ((found.trace[name] - values).abs() <= slack).all(), name


def test_a_convolution_with_two_norms_is_not_folded(batch: Batch, enliven: Callable[[nn.Module], None]) -> None:
    model = Reused()
    enliven(model)
    model = model.double().eval()
    images = batch[0].double()
    expected = dense_channel_traces(copy.deepcopy(model), images, batch[1])
    found = channel_traces(model, images, batch[1], Trace(batch_size=12, samples=400))
    for name, values in expected.items():
        assert ((found.trace[name] - values).abs() <= 4.5 * found.standard_error[name]).all(), name


class Mixing(nn.Module):
    """Takes the batch's mean out: images influence each other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).mean((2, 3))
        return self.fc(x - x.mean(0, keepdim=True))


class Keyword(nn.Module):
    """A product that hides in a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.mul(self.one(x), other=self.two(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Mixing(), "images of a batch do not influence each other"),
        (Keyword(), "a product of two activations"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten()),
            "do not influence each other|running statistics",
        ),
    ],
)
def test_networks_that_the_formulas_do_not_cover_are_refused(model: nn.Module, message: str, batch: Batch) -> None:
    with pytest.raises(ArchitectureError, match=message):
        channel_traces(model, *batch, EXACT)


@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_weights_that_are_computed_from_others_are_refused(batch: Batch, estimator: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    nn.utils.parametrizations.weight_norm(model[0])
    settings = Trace(batch_size=12, estimator=estimator, samples=1)  # type: ignore[arg-type]
    with pytest.raises(ArchitectureError, match="0: its weight is computed from other parameters"):
        channel_traces(model, *batch, settings)


def test_frozen_parameters_are_no_obstacle(tiny: nn.Module, batch: Batch) -> None:
    expected = channel_traces(tiny, *batch, EXACT).trace
    tiny.requires_grad_(False)
    for settings in (EXACT, Trace(batch_size=12, samples=2)):
        found = channel_traces(tiny, *batch, settings).trace
        assert settings.estimator == "hutchinson" or all(torch.equal(found[name], expected[name]) for name in found)
    assert not any(parameter.requires_grad for parameter in tiny.parameters())


def test_fp32_is_fp32_whatever_the_caller_casts(tiny: nn.Module, batch: Batch) -> None:
    expected = channel_traces(tiny, *batch, EXACT).trace
    with torch.autocast("cpu", torch.bfloat16):
        found = channel_traces(tiny, *batch, EXACT).trace
    assert all(torch.equal(found[name], expected[name]) for name in expected)


class Outside(nn.Module):
    """A classifier whose weight is used outside its layer: instead of it, or beside it."""

    def __init__(self, beside: bool) -> None:
        super().__init__()
        self.conv, self.pool, self.fc, self.beside = (
            nn.Conv2d(3, 6, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Linear(6, 5),
            beside,
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.flatten(self.pool(torch.relu(self.conv(x))), 1)
        if self.beside:
            return self.fc(x + self.fc.weight[0])
        return nn.functional.linear(x, nn.functional.normalize(self.fc.weight))


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


GAUSS_NEWTON = replace(EXACT, approximate="gauss-newton")


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (Outside(beside=True), EXACT, r"fc.weight: is used outside its layer"),
        (Outside(beside=False), GAUSS_NEWTON, r"fc: its weight is used outside the layer"),
        (Outside(beside=False), EXACT, "approximate"),
        (
            nn.Sequential(Standardised(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)),
            GAUSS_NEWTON,
            "0: expected the forward",
        ),
    ],
)
def test_a_weight_that_acts_otherwise_than_by_its_layer_is_refused(
    model: nn.Module, settings: Trace, message: str, batch: Batch
) -> None:
    with pytest.raises(ArchitectureError, match=message):
        channel_traces(model, *batch, settings)
    hutchinson = channel_traces(model, *batch, Trace(batch_size=12, samples=300))  # which is right for any network
    expected = dense_channel_traces(copy.deepcopy(model).double(), batch[0].double(), batch[1])
    for name, values in hutchinson.trace.items():
        error = hutchinson.standard_error[name].clamp_min(1e-6)
        assert ((values - expected[name]).abs() / error).max() < 5


@pytest.mark.parametrize("hook", ["forward", "forward_pre"])
def test_hooks_that_may_change_a_layer_are_refused(hook: str, tiny: nn.Module, batch: Batch) -> None:
    layer = tiny.get_submodule("conv1")
    handle = (
        layer.register_forward_hook(lambda module, inputs, output: 3 * output)
        if hook == "forward"
        else layer.register_forward_pre_hook(lambda module, inputs: (3 * inputs[0],))
    )
    with pytest.raises(ArchitectureError, match="conv1: expected no forward hooks"):
        channel_traces(tiny, *batch, EXACT)
    handle.remove()
    channel_traces(tiny, *batch, EXACT)


class Sizes(nn.Module):
    """Sizes read off the image, a norm of vectors, sums and slices: all linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 6, 3), nn.BatchNorm1d(6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).clamp(min=0)
        n, c, h, w = x.shape
        x = x.view(n, c, h * w // 1).amax(2) - x.sum((2, 3)).unsqueeze(2).transpose(1, 2).squeeze(1) / (h * w)
        return self.fc(self.norm(x))


def test_sizes_sums_and_norms_of_vectors_are_no_obstacle(batch: Batch, enliven: Callable[[nn.Module], None]) -> None:
    model, images = Sizes().double(), batch[0].double()
    enliven(model)
    found = channel_traces(model, images, batch[1], EXACT).trace
    for name, expected in dense_channel_traces(model.eval(), images, batch[1]).items():
        assert torch.allclose(found[name], expected, rtol=1e-9, atol=1e-15)


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
    first, second = (channel_traces(tiny, *batch, settings, seed).trace["conv1.weight"] for seed in (0, 256))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ("weights", NumericsError, "conv1.weight holds NaN or Inf; expected a network whose training did not diverge"),
        ("few labels", DataError, "expected one label from 0 to 4 for each of 12 images"),
        ("high label", DataError, r"expected one label from 0 to 4 for each of 12 images, got .* to 5"),
        ("no layer", ArchitectureError, "at least one convolution or linear layer"),
        ("feature map", ArchitectureError, r"expected logits of shape \(images, classes\), got \(2, 4, 6, 6\)"),
    ],
)
@pytest.mark.parametrize("estimator", ["exact", "hutchinson"])
def test_what_does_not_go_together_is_said_first(
    change: str, kind: type[Exception], message: str, estimator: Any, tiny: nn.Module, batch: Batch
) -> None:
    images, labels = batch
    model: nn.Module = tiny
    if change == "weights":
        model.get_parameter("conv1.weight").data[0] = float("nan")
    elif change == "no layer":
        model = nn.Flatten()
    elif change == "feature map":
        model = nn.Conv2d(3, 4, 3)
    labels = labels[:5] if change == "few labels" else labels.clamp_min(5) if change == "high label" else labels
    with pytest.raises(kind, match=message):
        channel_traces(model, images, labels, Trace(batch_size=12, estimator=estimator, samples=2))
