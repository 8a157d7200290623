"""All contenders compute the same estimate."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import trace_ways as benchmark
from benchmarks.trace_columns import spearman
from ehap.curvature import channel_traces
from ehap.settings import Trace
from ehap.settings.checks import Precision


@pytest.mark.parametrize("contender", [benchmark.published, benchmark.plain, benchmark.regular])
def test_the_published_form_gives_our_traces_from_the_same_vectors(
    contender: Callable[..., benchmark.Cost], tiny: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    ours = channel_traces(tiny, *batch, Trace(batch_size=12, samples=3)).trace
    cost = contender(tiny, *batch, 3, time.process_time)
    assert all(torch.allclose(cost.trace[name], values, rtol=1e-3, atol=1e-6) for name, values in ours.items())
    assert cost.each is not None
    assert 0 < 3 * cost.each < 3 * cost.seconds


def test_what_one_more_sample_takes_is_the_median_of_those_that_were_run(
    tiny: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    ticks = iter([0.0, 1.0, 2.0, 3.0, 13.0, 13.0, 15.0, 16.0])  # begin; three samples of 1, 10 and 2 s; end
    clock: Any = lambda: next(ticks)  # noqa: E731
    cost = benchmark.plain(tiny, *batch, 3, clock)
    assert (cost.seconds, cost.each, cost.samples) == (16.0, 2.0, 3)


def test_our_products_are_timed_one_by_one_micro_batches_together(
    tiny: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    ticks = iter([0.0, 1.0, 2.0, 12.0, 13.0, 14.0])  # after each of three products of two micro-batches
    clock: Any = lambda: next(ticks)  # noqa: E731
    cost = benchmark.ours(tiny, *batch, {"samples": 3, "micro_batch": 6}, clock)
    assert (cost.each, cost.samples) == (2 * 1.0, 3)
    assert benchmark.ours(tiny, *batch, {"samples": 3}).each is None


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.1), ("fp16", 0.02)])
@pytest.mark.parametrize("contender", [benchmark.published, benchmark.regular])
def test_a_contender_runs_in_half_precision(
    contender: Callable[..., benchmark.Cost],
    precision: Precision,
    tolerance: float,
    tiny: nn.Module,
    batch: tuple[Tensor, Tensor],
) -> None:
    full, half = (
        torch.cat(list(contender(tiny, *batch, 3, time.process_time, each).trace.values()))
        for each in ("fp32", precision)
    )
    assert 0 < (half - full).norm() < tolerance * full.norm()  # it is rounded, and no scale is left in it


def test_ranks_agree_whatever_the_scale() -> None:
    first = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([4.0])}
    assert spearman({name: values.exp() for name, values in first.items()}, first) == pytest.approx(1)
    assert spearman({name: -values for name, values in first.items()}, first) == pytest.approx(-1)
