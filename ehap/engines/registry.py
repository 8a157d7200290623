"""All engines by name.

Each engine is imported on demand: the packages and compilers behind an engine can load slowly, and most jobs
need none of them.
"""

from collections.abc import Callable

from ehap.engines.base import Engine
from ehap.errors import MissingPackageError, SettingsError
from ehap.runtime.extras import missing_package, packages_named


def _onnxruntime() -> Engine:
    from ehap.engines.onnxruntime.engine import OnnxRuntime

    return OnnxRuntime()


def _inductor() -> Engine:
    from ehap.engines.inductor import Inductor

    return Inductor()


ENGINES: dict[str, Callable[[], Engine]] = {"onnxruntime": _onnxruntime, "inductor": _inductor}


def engine(name: str) -> Engine:
    """Return the engine called ``name``.

    Raises:
        SettingsError: There is no such engine.
        MissingPackageError: A package that it needs is not installed.
    """
    if name not in ENGINES:
        raise SettingsError(f"unknown engine {name}; choose one of {', '.join(ENGINES)}.")
    try:
        with packages_named():
            return ENGINES[name]()
    except ModuleNotFoundError as error:
        package = missing_package(error)
        if package in ("", "ehap"):
            raise
        raise MissingPackageError(
            f"engine {name}: {package} is not installed; install it with: pip install {package}", name=package
        ) from None
