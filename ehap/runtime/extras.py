"""Packages outside the core: the extra that brings each, and the error where one is missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ehap.errors import MissingPackageError

EXTRAS = {
    **dict.fromkeys(("torchao", "onnx", "onnxscript", "onnxruntime", "scipy"), "quantization"),
    **dict.fromkeys(("pandas", "tabulate", "jinja2", "altair", "vl_convert", "itables"), "report"),
    **dict.fromkeys(("torchvision", "sklearn", "yaml", "dvc", "dvc_objects", "psutil"), "workflow"),
    **dict.fromkeys(("snakemake", "snakemake_interface_executor_plugins"), "workflow"),
    "openvino": "openvino",
    "tensorboard": "tensorboard",
    **dict.fromkeys(("typer", "rich"), "cli"),
}
"""Each package, as Python imports it, and the extra of pyproject.toml that brings it."""


def named(error: ModuleNotFoundError) -> MissingPackageError | None:
    """Return the error that names the pip command of a missing package.

    Args:
        error: The error of an import.

    Returns:
        None where no extra brings the package, or where the package is there and lacks a part.
    """
    package = missing_package(error)
    if package not in EXTRAS:
        return None
    text = f'{package} is not installed; it comes with: pip install "ehap[{EXTRAS[package]}]"'
    return MissingPackageError(text, name=package)


def missing_package(error: ModuleNotFoundError) -> str:
    """Return the name of the package that is not installed; empty where it is there and lacks a part."""
    package = (error.name or "").partition(".")[0]
    if not package:
        return ""
    try:
        return package if find_spec(package) is None else ""
    except (ModuleNotFoundError, ValueError):  # as a finder or a module without a specification says it
        return package


@contextmanager
def packages_named() -> Iterator[None]:
    """Raise MissingPackageError where an import in the block needs a package that an extra brings."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = named(error)
        if missing is None:
            raise
        raise missing from None
