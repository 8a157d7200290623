"""Small, fast convolutional networks by what the Hessian says about their channels.

The names here are the public interface. Each is imported when it is first used: ``import ehap`` alone imports no torch.
Modules behind them may change from version to version.
"""

import importlib
from typing import Any

_HOMES = {
    "channel_scores": "interface.scores",
    "plan": "interface.planning",
    "Budget": "settings.budget",
    "Limits": "settings.budget",
    "PruningPlan": "pruning.plan",
    "prune": "interface.surgery",
    "reconstruct": "interface.repair",
    "distill": "interface.distillation",
    "Scheme": "settings.scheme",
    "quantize": "interface.quantization",
    "prepare_qat": "interface.quantization",
    "export": "interface.exporting",
    "verify": "interface.verification",
    "save": "interface.files",
    "load": "interface.files",
    "load_plan": "interface.files",
    **dict.fromkeys(
        (
            "EhapError",
            "ArchitectureError",
            "ArgumentError",
            "CheckpointError",
            "DataError",
            "DeviceError",
            "MismatchError",
            "MissingPackageError",
            "NumericsError",
            "PlanError",
            "ReadError",
            "SettingsError",
            "WriteError",
        ),
        "errors",
    ),
}
"""Each public name, and the module below that defines it."""
__all__ = [*_HOMES]  # noqa: PLE0604 (they are strings)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        from ehap.runtime.extras import named

        missing = named(error)
        if missing is None:
            raise
        raise missing from None
    found = globals()[name] = getattr(module, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
