"""Milliseconds of a call, fairly compared."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor

Key = TypeVar("Key")
WARM_UP = 2


def in_turns(
    calls: Mapping[Key, Callable[[Tensor], Tensor]],
    images: Tensor,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, float]:
    """Return the median milliseconds of each call over ``rounds``, taken in turns."""
    return {key: statistics.median(each) for key, each in each_turn(calls, images, rounds, clock).items()}


def each_turn(
    calls: Mapping[Key, Callable[[Tensor], Tensor]],
    images: Tensor,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Key, list[float]]:
    """Return the milliseconds of each call in each of ``rounds``.

    All take turns, so that what else the machine does hits each alike; two rounds before the first warm up. On a busy
    machine that is so for long calls only: a short one is over before another process has its turn. There
    ``time.process_time`` is the clock for calls of one thread.
    """
    times: dict[Key, list[float]] = {key: [] for key in calls}
    for number in range(rounds + WARM_UP):
        for key, call in calls.items():
            began = clock()
            call(images)
            if number >= WARM_UP:
                times[key].append(1e3 * (clock() - began))
    return times
