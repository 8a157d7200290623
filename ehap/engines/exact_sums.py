"""Find out whether ONNX Runtime adds 8-bit products exactly on this processor, or needs an option for it."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy
import onnxruntime

from ehap.engines.sum_probes import Probe, probes, probing_model
from ehap.errors import DeviceError
from ehap.records import EXACT_SUMS, Value

PLAIN, OPTION = EXACT_SUMS
"""OPTION is an option of sessions: layers get slower kernels that add in 32 bits on every processor."""
Runner = Callable[[bytes, Mapping[str, Any]], Mapping[str, Any]]
"""Maps an ONNX file and its inputs, by name, to its outputs, by name."""


def saturating(run: Runner) -> tuple[str, ...]:
    """Return the names of the probes whose sums the engine ``run`` gets wrong."""
    found = probes()
    outputs = run(probing_model(found), {probe.source: probe.inputs for probe in found})
    return tuple(probe.name for probe in found if not _exact(probe, outputs[probe.name]))


def needs_option(plain: Runner, with_option: Runner) -> bool:
    """Return whether an engine needs OPTION for exact sums.

    Args:
        plain: The engine without the option.
        with_option: The engine with it.

    Raises:
        DeviceError: Sums are wrong either way.
    """
    if not saturating(plain):
        return False
    wrong = saturating(with_option)
    if wrong:
        raise DeviceError(
            f"ONNX Runtime adds 8-bit products wrong on this processor, even with {OPTION}: {', '.join(wrong)}. "
            "Use another version of onnxruntime, or another processor."
        )
    return True


@cache
def option_needed() -> bool:
    """Return whether sessions on this processor need OPTION for exact sums. The first call of a process tries it.

    Where it is not needed, the option changes no answer and takes up to three times as long.

    Raises:
        DeviceError: Sums are wrong either way.
    """
    return needs_option(partial(in_session, option=False), partial(in_session, option=True))


def how_exact() -> str:
    """Return PLAIN or OPTION for tables: how sessions here get exact sums."""
    return OPTION if option_needed() else PLAIN


def set_option_(options: onnxruntime.SessionOptions, option: bool | None = None) -> None:
    """Set OPTION where sums need it.

    Args:
        options: Options of a session, changed in place.
        option: True sets OPTION, False does not; None: where this processor needs it.
    """
    if option_needed() if option is None else option:
        options.add_session_config_entry(OPTION, "1")


def recorded() -> dict[str, Value]:
    """Return the decision as the value of a record."""
    return {"exact_sums_option": Value(int(option_needed()), "1: set, 0: not needed")}


def in_session(content: bytes, inputs: Mapping[str, Any], option: bool) -> dict[str, Any]:
    """Return the outputs of a session of ONNX Runtime, on one thread, with OPTION or without."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    set_option_(options, option)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _exact(probe: Probe, found: Any) -> bool:
    return bool(numpy.array_equal(found, probe.wanted))
