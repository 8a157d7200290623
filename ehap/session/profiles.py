"""Profiles of a Hessian-vector product: operators with their shapes, kernels, and the load of the device."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ehap.runtime.device import synchronize

WARM_UP, TIMED, PROFILED = 2, 2, 2
ROWS = 40
LONGEST_NAME = 100
Steps = Callable[[int], Iterator[None]]
"""Function from a number of steps to an iterator that does one step at a time."""


def profiled(steps: Steps, device: torch.device) -> dict[str, str]:
    """Run and profile a few steps.

    Returns:
        Ending of a file name to its text. ``operators.txt``: operators by their own time on the device, then those of
        each shape of their inputs. ``kernels.csv``: every kernel with its calls, time and share, per step.
        ``profile.json``: seconds of a step with and without the profiler, seconds of its kernels, and their number.
    """
    work = steps(WARM_UP + TIMED + PROFILED)
    _do(work, WARM_UP)
    synchronize(device)
    plain = _seconds(work, TIMED, device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities, record_shapes=True) as profiler:
        watched = _seconds(work, PROFILED, device)
    kernels = _kernels(profiler, on_gpu=device.type == "cuda")
    busy = sum(row["microseconds"] for row in kernels) / 1e6
    numbers = {
        "seconds_per_product": plain,
        "seconds_per_product_profiled": watched,
        "kernel_seconds_per_product": busy,
        **({"kernel_share_percent": 100 * busy / plain} if device.type == "cuda" else {}),
        "kernels_per_product": sum(row["calls"] for row in kernels),
        "device": device.type,
        "products_profiled": PROFILED,
    }
    return {
        "operators.txt": _operators(profiler, device),
        "kernels.csv": _as_csv(kernels),
        "profile.json": json.dumps(numbers, indent=2) + "\n",
    }


def _seconds(work: Iterator[None], count: int, device: torch.device) -> float:
    began = time.perf_counter()
    _do(work, count)
    synchronize(device)
    return (time.perf_counter() - began) / count


def _do(work: Iterator[None], count: int) -> None:
    done = sum(1 for _ in islice(work, count))
    assert done == count


def _operators(profiler: profile, device: torch.device) -> str:
    own = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    parts = []
    for by_shape in (False, True):
        found = profiler.key_averages(group_by_input_shape=by_shape)
        table = found.table(
            sort_by=own, row_limit=ROWS, max_name_column_width=LONGEST_NAME, max_shapes_column_width=LONGEST_NAME
        )
        parts.append(
            f"{'Each shape of the inputs' if by_shape else 'All shapes together'}, {PROFILED} products\n{table}"
        )
    return "\n".join(parts)


def _kernels(profiler: profile, on_gpu: bool) -> list[dict[str, Any]]:
    """Return the kernels of the device, longest first; on a CPU the operators, by their own time."""
    wanted = DeviceType.CUDA if on_gpu else DeviceType.CPU
    rows = []
    for event in profiler.key_averages():
        if event.device_type != wanted:
            continue
        took = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        rows.append({"kernel": event.key, "calls": event.count / PROFILED, "microseconds": took / PROFILED})
    total = sum(row["microseconds"] for row in rows) or 1.0
    for row in rows:
        row["share_percent"] = round(100 * row["microseconds"] / total, 3)
    return sorted(rows, key=lambda row: -row["microseconds"])


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["kernel", "calls", "microseconds", "share_percent"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
