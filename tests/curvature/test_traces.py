import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ehap.curvature import Partial, channel_traces, merged_traces, partial_traces
from ehap.curvature.dense import dense_channel_traces, dense_hessian
from ehap.curvature.hutchinson import Hutchinson
from ehap.curvature.products import HessianProduct
from ehap.curvature.stability import jaccard, stability
from ehap.curvature.traces import TracePlanner
from ehap.errors import DataError, NumericsError, SettingsError, StoppedError
from ehap.graph.layers import layer_weights
from ehap.settings import Trace
from ehap.settings.trace import Until
from tests.checkpointers import Memory, loaded

Batch = tuple[Tensor, Tensor]


def _exact(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    return dense_channel_traces(copy.deepcopy(model).double(), batch[0].double(), batch[1])


def test_products_are_those_of_the_dense_hessian(tiny: nn.Module, batch: Batch) -> None:
    model, images = tiny.double(), batch[0].double()
    hessian = dense_hessian(model, images, batch[1])
    generator = torch.Generator().manual_seed(0)
    weights = layer_weights(model).values()
    vectors = [torch.randn(weight.shape, dtype=torch.float64, generator=generator) for weight in weights]
    product = HessianProduct(model, list(weights), images, batch[1])(vectors, scale=64.0)
    expected = 64 * hessian @ torch.cat([vector.flatten() for vector in vectors])
    assert torch.allclose(torch.cat([item.flatten() for item in product]), expected, rtol=1e-9, atol=1e-12)


def test_hutchinson_is_unbiased_and_its_standard_error_is_the_spread_of_estimates(
    tiny: nn.Module, batch: Batch
) -> None:
    # Micro-batches of 5, 5 and 2 images. 300 samples, as 30 estimates of 10.
    settings = Trace(batch_size=12, samples=10, micro_batch=5)
    rows = partial_traces(tiny, *batch, replace(settings, samples=300)).rows["trace"]
    runs = [merged_traces(tiny, [Partial(0, 10, {"trace": ten})], settings, 12) for ten in rows.split(10)]
    means = torch.stack([torch.cat(list(run.trace.values())) for run in runs])
    claimed = torch.stack([torch.cat(list(run.standard_error.values())) for run in runs]).square().mean(0).sqrt()
    expected, spread = torch.cat(list(_exact(tiny, batch).values())), means.std(0)
    scores = (means.mean(0) - expected).abs() / (spread / 30**0.5).clamp_min(1e-9 * expected.abs().max())
    assert scores.max() < 4  # of 25 z-scores, by chance in 99.8 % of all choices of seeds
    ratio = spread / claimed  # NaN for channels that no image of this batch reaches: 0 / 0
    assert ratio.nanmedian().item() == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize(("precision", "scale"), [("bf16", 256.0), ("fp16", 256.0), ("fp16", "dynamic")])
def test_samples_in_half_precision_are_those_of_fp32_to_their_rounding(
    tiny: nn.Module, batch: Batch, precision: str, scale: Any
) -> None:
    fp32 = Trace(batch_size=12, samples=6, micro_batch=5)
    half = replace(fp32, precision=precision, scale=scale)
    expected, found = (partial_traces(tiny, *batch, one, seed=2).rows["trace"] for one in (fp32, half))
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()
    assert not torch.equal(found, expected)


def test_micro_batches_count_by_their_size(tiny: nn.Module, batch: Batch) -> None:
    """Four images and one, against four and four copies of that one: the vectors are the same."""

    def rows(chosen: list[int]) -> Tensor:
        settings = Trace(batch_size=len(chosen), samples=2, micro_batch=4)
        return partial_traces(tiny, batch[0][chosen], batch[1][chosen], settings).rows["trace"]

    four = rows([0, 1, 2, 3])
    one = 2 * rows([0, 1, 2, 3, 4, 4, 4, 4]) - four
    assert torch.allclose(rows([0, 1, 2, 3, 4]), 0.8 * four + 0.2 * one, rtol=1e-4, atol=1e-5 * float(four.abs().max()))


def test_every_micro_batch_draws_vectors_of_its_own(tiny: nn.Module, batch: Batch) -> None:
    """The same images twice: with the same vectors a sample would be that of the images once."""
    twice = (batch[0].repeat(2, 1, 1, 1), batch[1].repeat(2))
    settings = Trace(batch_size=24, samples=200, micro_batch=12)
    halves = channel_traces(tiny, *twice, settings)
    alone = channel_traces(tiny, *batch, settings)
    ratio = torch.cat([halves.standard_error[name] / alone.standard_error[name] for name in alone.trace])
    assert ratio.nanmedian().item() == pytest.approx(0.5**0.5, rel=0.15)


def test_the_scale_does_not_change_a_sample(tiny: nn.Module, batch: Batch) -> None:
    plain, scaled = (
        channel_traces(tiny, *batch, Trace(batch_size=12, samples=3, scale=scale), seed=5) for scale in (1.0, 256.0)
    )
    assert all(torch.allclose(plain.trace[name], scaled.trace[name], rtol=1e-4, atol=1e-6) for name in plain.trace)


def test_the_same_seed_gives_the_same_traces_and_another_seed_others(tiny: nn.Module, batch: Batch) -> None:
    settings = Trace(batch_size=12, samples=2)
    first, again, other = (channel_traces(tiny, *batch, settings, seed).trace["fc"] for seed in (1, 1, 2))
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
    with pytest.raises(
        NumericsError, match=r"3 of 3 Hutchinson samples hold NaN or Inf; lower trace.scale or say dynamic"
    ):
        channel_traces(tiny, *batch, settings)


def test_a_batch_with_nan_is_refused(tiny: nn.Module, batch: Batch) -> None:
    batch[0][0, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match="expected a Hessian batch of finite images"):
        channel_traces(tiny, *batch, Trace(batch_size=12, samples=1))


def _samples(model: nn.Module, batch: Batch, settings: Trace, loss_factor: float = 1.0) -> Partial:
    work = Hutchinson(model, *batch, settings, seed=0, loss_factor=loss_factor)
    for _ in work.run():
        pass
    return work.result()


@pytest.mark.parametrize("power", [-30, -20, 0, 20])
def test_a_dynamic_scale_follows_losses_of_any_size(tiny: nn.Module, batch: Batch, power: int) -> None:
    fp32 = _samples(tiny, batch, Trace(batch_size=12, samples=6)).rows["trace"]
    dynamic = Trace(batch_size=12, samples=6, precision="fp16", scale="dynamic")
    found = _samples(tiny, batch, dynamic, loss_factor=2.0**power)
    assert (
        found.rows["trace"] / 2.0**power - fp32
    ).abs().max() < 0.02 * fp32.abs().max()  # the same vectors, also of repeats
    assert (found.repeated > 0) == (power >= 0)  # the scale starts high
    static = Trace(batch_size=12, samples=6, precision="fp16", scale=2.0**8)
    if power == 20:
        assert not _samples(tiny, batch, static, loss_factor=2.0**power).rows["trace"].isfinite().all()
    if power == -30:
        assert (_samples(tiny, batch, static, loss_factor=2.0**power).rows["trace"] == 0).double().mean() > 0.5


def test_a_dynamic_scale_rises_after_good_samples(tiny: nn.Module, batch: Batch) -> None:
    work = Hutchinson(tiny, *batch, Trace(batch_size=12, samples=80, precision="bf16", scale="dynamic"), seed=0)
    for _ in work.run():
        pass
    assert work.state()["scale"] == 2.0**24 * 2**4  # bf16 never overflows here


def test_as_published_the_first_sample_is_all(tiny: nn.Module, batch: Batch) -> None:
    plain = _samples(tiny, batch, Trace(batch_size=12, samples=8)).rows["trace"]
    published = _samples(tiny, batch, Trace(batch_size=12, samples=8, as_published=True)).rows["trace"]
    for number in range(8):
        assert torch.allclose(published[number], plain[number] * 2.0 ** (-8 * number), rtol=1e-4, atol=1e-12)
    half = _samples(tiny, batch, Trace(batch_size=12, samples=8, precision="fp16", as_published=True)).rows["trace"]
    assert (half[4:] == 0).all()  # below what FP16 can hold
    shares = half.abs().sum(1) / half.abs().sum()
    assert shares[0] > 0.99


@pytest.mark.parametrize("estimator", ["hutchinson", "exact"])
def test_work_shared_out_gives_the_bits_of_one_job(tiny: nn.Module, batch: Batch, estimator: Any) -> None:
    sketch = {"eigen_tolerance": 0.3} if estimator == "exact" else {}
    settings = Trace(batch_size=12, samples=8, micro_batch=4, estimator=estimator, **sketch)
    alone = channel_traces(tiny, *batch, settings, seed=1)
    for shards in (2, 7):
        shared = replace(settings, shards=shards)
        parts = [partial_traces(tiny, *batch, shared, seed=1, shard=shard) for shard in range(shards)]
        merged = merged_traces(tiny, parts[::-1], shared, 12)
        assert merged.samples == alone.samples
        for name, trace in alone.trace.items():
            assert torch.equal(merged.trace[name], trace)
            assert torch.equal(merged.standard_error[name], alone.standard_error[name])
        with pytest.raises(DataError, match="expected"):
            merged_traces(tiny, parts[:-1], shared, 12)
        with pytest.raises(DataError, match="expected"):
            merged_traces(tiny, [*parts, parts[-1]], shared, 12)


@pytest.mark.parametrize(
    "settings",
    [
        Trace(batch_size=12, samples=5, micro_batch=4),
        Trace(batch_size=12, samples=5, micro_batch=4, precision="fp16", scale="dynamic"),
        Trace(batch_size=12, estimator="exact", micro_batch=1, eigen_tolerance=0.3),
    ],
)
def test_traces_that_go_on_from_any_state_are_those_of_an_unbroken_run(
    tiny: nn.Module, batch: Batch, settings: Trace
) -> None:
    whole = channel_traces(tiny, *batch, settings, seed=3)
    for stop_after in (1, 5, 7, 12):
        notes = Memory(stop_after)
        with pytest.raises(StoppedError):
            channel_traces(tiny, *batch, settings, 3, notes)
        again = channel_traces(tiny, *batch, settings, 3, Memory(start=notes.states[-1]))
        assert again.repeated == whole.repeated
        assert again.peak_memory_bytes >= loaded(notes.states[-1])["peak_memory_bytes"]
        for name, trace in whole.trace.items():
            assert torch.equal(again.trace[name], trace)
            assert torch.equal(again.standard_error[name], whole.standard_error[name])


def _keep_best(count: int) -> TracePlanner:
    def planned(traces: Mapping[str, Tensor]) -> dict[str, list[int]]:
        values = torch.cat(list(traces.values()))
        return {"all": values.argsort(descending=True)[:count].tolist()}

    return planned


def test_an_estimate_stops_when_its_plan_is_stable_and_says_when_it_is_not(tiny: nn.Module, batch: Batch) -> None:
    planner = _keep_best(8)
    easy = Trace(batch_size=12, samples=2000, until=Until(params=0.5, overlap=0.6, confidence=0.9))
    found = channel_traces(tiny, *batch, easy, 0, planner=planner)
    assert 25 <= found.samples < 2000
    assert found.overlap is not None
    assert found.overlap >= 0.6
    exact = channel_traces(tiny, *batch, Trace(batch_size=12, estimator="exact"))
    assert jaccard(planner(found.trace), planner(exact.trace)) >= 0.6
    hard = Trace(batch_size=12, samples=50, until=Until(params=0.5, overlap=1.0, confidence=0.99))
    found = channel_traces(tiny, *batch, hard, 0, planner=planner)
    assert found.samples == 50
    assert found.overlap is not None
    assert found.overlap < 1


def test_stability_is_the_overlap_that_resampled_estimates_reach() -> None:
    sure = torch.arange(6.0).repeat(30, 1)
    planned = {"all": [3, 4, 5]}
    top = lambda values: {"all": values.argsort(descending=True)[:3].tolist()}  # noqa: E731
    assert stability(sure, top, 0.95, [6]) == 1
    assert jaccard(planned, {"all": [2, 3, 4]}) == 0.5
    noise = torch.randn(30, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert stability(sure + 100 * noise, top, 0.95, [6]) < 0.6


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0, 30.0])
def test_stability_claims_no_more_than_is_true(noise: float) -> None:
    """Against the truth, which an estimate does not know: also where the estimate is next to nothing but noise."""
    generator = torch.Generator().manual_seed(0)
    claimed, true = [], []
    for _ in range(30):
        truth = torch.randn(100, generator=generator)
        rows = truth + noise * 10 * torch.randn(100, 100, generator=generator)
        top = lambda values: {"all": values.argsort(descending=True)[:30].tolist()}  # noqa: E731
        claimed.append(stability(rows, top, 0.5, [100]))
        true.append(jaccard(top(rows.mean(0)), top(truth)))
    assert sum(claimed) / 30 == pytest.approx(sum(true) / 30, abs=0.04)


def test_stopping_when_stable_needs_a_planner_and_a_confidence_that_resampling_can_tell(
    tiny: nn.Module, batch: Batch
) -> None:
    with pytest.raises(SettingsError, match=r"until: .* needs a planner"):
        channel_traces(tiny, *batch, Trace(batch_size=12, samples=4, until=Until(params=0.5)))
    with pytest.raises(SettingsError, match=r"confidence must be at most 0.99, got 0.999"):
        Until(params=0.5, confidence=0.999)


def test_networks_of_vectors_have_hutchinson_traces(batch: Batch) -> None:
    model = nn.Sequential(nn.Linear(192, 6), nn.ReLU(), nn.Linear(6, 5))
    images = batch[0].flatten(1)[:, :192]
    found = channel_traces(model, images, batch[1], Trace(batch_size=12, samples=400))
    for name, expected in _exact(model, (images, batch[1])).items():
        assert ((found.trace[name] - expected).abs() / found.standard_error[name].clamp_min(1e-6)).max() < 5
