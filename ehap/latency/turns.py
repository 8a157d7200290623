"""Time several networks in turns, so that their milliseconds can be compared."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key")
Clock = Callable[[], float]
"""Returns seconds, as ``time.perf_counter`` does."""
WARM_UP = 2
"""Rounds that do not count."""


def noise(batch: int, input_shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    """Return normal noise (batch, C, H, W) as images to time networks with; latency does not depend on their values."""
    return torch.randn(batch, *input_shape, generator=torch.Generator().manual_seed(seed))


def in_turns(
    calls: Mapping[Key, Callable[[Tensor], Tensor]], images: Tensor, rounds: int, clock: Clock = time.perf_counter
) -> dict[Key, float]:
    """Return the median milliseconds of each call over ``rounds``; see ``each_turn``."""
    return {key: statistics.median(each) for key, each in each_turn(calls, images, rounds, clock).items()}


def each_turn(
    calls: Mapping[Key, Callable[[Tensor], Tensor]], images: Tensor, rounds: int, clock: Clock = time.perf_counter
) -> dict[Key, list[float]]:
    """Return the milliseconds of each call in each of ``rounds``.

    The calls take turns, so other work on the machine slows all of them alike. Two rounds before the first one warm up.
    On a busy machine this holds for long calls only: a short call ends before another process gets its turn. There, use
    ``time.process_time`` as the clock, for calls of one thread.

    Args:
        calls: Key to a network in an engine.
        images: Argument of every call.
        rounds: Number of turns of each call.
        clock: The clock to read before and after a call.
    """
    times: dict[Key, list[float]] = {key: [] for key in calls}
    for number in range(rounds + WARM_UP):
        for key, call in calls.items():
            began = clock()
            call(images)
            if number >= WARM_UP:
                times[key].append(1e3 * (clock() - began))
    return times
