"""The protocol of engines: export, run, audit and time a quantized network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import ClassVar, Protocol

from torch import Tensor

from ehap.quantization.simulation import SimulatedNetwork

Session = Callable[[Tensor], Tensor]
"""Maps normalised images (N, C, H, W) to logits (N, classes)."""


@dataclass(frozen=True)
class Audit:
    """The operators of a network as an engine executes it.

    in_integers: Operator to how many compute in integers.
    in_float: Operator to how many compute in floating point, or are not known to compute in integers.
    neither: Operator to how many only move values, or convert the input and the output of the network.
    others: Further counts of this engine by name; records keep them.
    """

    in_integers: Mapping[str, int]
    in_float: Mapping[str, int]
    neither: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)


class EngineNetwork(Protocol):
    """A quantized network in the form that one engine executes."""

    @property
    def content(self) -> bytes | None:
        """The file for the engine; None where the network exists in memory only."""

    @property
    def tolerance(self) -> float:
        """Largest allowed difference from the simulated network, as a share of the largest output."""

    def run(self, images: Tensor) -> Tensor:
        """Return the logits (N, classes) of normalised images (N, C, H, W)."""

    def audit(self) -> Audit:
        """Return which operators the engine executes in integers and which in floating point."""

    def session(self, threads: int = 1) -> Session:
        """Return a callable to be timed, which uses so many threads."""


class Engine(Protocol):
    """A program that executes quantized networks.

    name: The key in ``registry.ENGINES``, and the prefix of its values in records.
    package: The Python package that brings the engine, as pip knows it.
    likes_wide: Whether widths padded to multiples of ``deploy.round_to`` make it faster.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    likes_wide: ClassVar[bool]

    def version(self) -> str:
        """Return the installed version of ``package``."""
        return metadata.version(self.package)

    def export(self, network: SimulatedNetwork, images: Tensor) -> EngineNetwork:
        """Return a network in this engine, shown to give the simulated network's outputs on examples.

        Args:
            network: Result of ``unpack`` or ``deployable``, on the CPU. It is used up.
            images: Normalised images (N, C, H, W). An engine may compile for this N.

        Raises:
            ArchitectureError: The engine cannot execute a layer, or activations have other than 8 bits.
            MismatchError: The engine gives other outputs than the network.
            DeviceError: The engine cannot work on this machine.
        """
