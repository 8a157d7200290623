import copy

import pytest
import torch
from torch import Tensor, nn

from ehap.curvature import channel_traces
from ehap.curvature.dense import dense_channel_traces, dense_hessian
from ehap.curvature.products import channel_weights, hessian_product
from ehap.errors import DataError, NumericsError
from ehap.settings import Trace

Batch = tuple[Tensor, Tensor]


def _exact(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    return dense_channel_traces(copy.deepcopy(model).double(), batch[0].double(), batch[1])


def test_products_are_those_of_the_dense_hessian(tiny: nn.Module, batch: Batch) -> None:
    model, images = tiny.double(), batch[0].double()
    hessian = dense_hessian(model, images, batch[1])
    generator = torch.Generator().manual_seed(0)
    weights = channel_weights(model).values()
    vectors = [torch.randn(weight.shape, dtype=torch.float64, generator=generator) for weight in weights]
    product = hessian_product(model, images, batch[1], scale=64.0)(vectors)
    expected = hessian @ torch.cat([vector.flatten() for vector in vectors])
    assert torch.allclose(torch.cat([item.flatten() for item in product]), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("precision", "scale"), [("fp32", 1.0), ("bf16", 256.0), ("fp16", 256.0)])
def test_hutchinson_is_unbiased_in_every_precision(tiny: nn.Module, batch: Batch, precision: str, scale: float) -> None:
    # 200 samples, seed 0: the largest of 25 z-scores stays under 4 by chance in 99.8 % of all seeds, and half
    # precision moves a trace by a few percent at most.
    settings = Trace(batch_size=12, samples=200, precision=precision, scale=scale, micro_batch=6)
    result = channel_traces(tiny, *batch, settings, seed=0)
    for name, expected in _exact(tiny, batch).items():
        slack = 4 * result.standard_error[name] + (0 if precision == "fp32" else 0.05 * expected.abs().max())
        assert ((result.trace[name] - expected).abs() <= slack).all(), name
        assert (result.standard_error[name] < 10 * expected.abs().max()).all()


def test_the_standard_error_is_the_spread_between_seeds(tiny: nn.Module, batch: Batch) -> None:
    settings = Trace(batch_size=12, samples=10)
    runs = [channel_traces(tiny, *batch, settings, seed) for seed in range(30)]
    means = torch.stack([torch.cat(list(run.trace.values())) for run in runs])
    claimed = torch.stack([torch.cat(list(run.standard_error.values())) for run in runs]).square().mean(0).sqrt()
    ratio = means.std(0) / claimed  # NaN for channels that no image of this batch reaches: 0 / 0
    assert ratio.nanmedian().item() == pytest.approx(1, abs=0.25)


def test_the_scale_does_not_change_a_sample(tiny: nn.Module, batch: Batch) -> None:
    plain, scaled = (
        channel_traces(tiny, *batch, Trace(batch_size=12, samples=3, scale=scale), seed=5) for scale in (1.0, 256.0)
    )
    assert all(torch.allclose(plain.trace[name], scaled.trace[name], rtol=1e-4, atol=1e-6) for name in plain.trace)


def test_the_same_seed_gives_the_same_traces_and_another_seed_others(tiny: nn.Module, batch: Batch) -> None:
    settings = Trace(batch_size=12, samples=2)
    first, again, other = (channel_traces(tiny, *batch, settings, seed).trace["fc.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_model_mode_gradients_and_random_state_stay_as_they_were(tiny: nn.Module, batch: Batch) -> None:
    tiny.train()
    tiny.bn1.eval()
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    state = torch.get_rng_state()
    channel_traces(tiny, *batch, Trace(batch_size=12, samples=1))
    assert tiny.training
    assert not tiny.bn1.training
    assert all(parameter.grad is None for parameter in tiny.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_overflow_in_half_precision_is_an_error_that_says_what_to_do(tiny: nn.Module, batch: Batch) -> None:
    settings = Trace(batch_size=12, samples=3, precision="fp16", scale=2.0**24)
    with pytest.raises(NumericsError, match=r"3 of 3 Hutchinson samples hold NaN or Inf; lower trace.scale"):
        channel_traces(tiny, *batch, settings)


def test_a_batch_with_nan_is_refused(tiny: nn.Module, batch: Batch) -> None:
    batch[0][0, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match="expected a Hessian batch of finite images"):
        channel_traces(tiny, *batch, Trace(batch_size=12, samples=1))
