"""A pruning plan: the channels of each layer that stay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Order = Literal["sorted", "set"]
"""Order of the channels in a union. The published code uses "set", the order of a Python set. Readers of the stream
expect sorted channels, so they get wrong ones where the two orders differ."""


@dataclass(frozen=True)
class PruningPlan:
    """The channels that stay.

    A plan file (JSON) holds these fields: ``PruningPlan(**json.loads(text))`` reads one.

    kept: Layer name to its sorted kept output channels, for every convolution and linear layer.
    widths: Layer name to the output channels of the original, by which a plan for another network is known.
    parameters, flops: Size of the layers of the pruned network's forward pass; FLOPs for one image, 2 a multiply-add.
    dense_parameters, dense_flops: The same of the original network.
    input_shape: (C, H, W) of an image, on which FLOPs depend; empty where a plan does not say it.
    order: Order of the channels in a union.
    """

    kept: dict[str, list[int]]
    widths: dict[str, int]
    parameters: int
    dense_parameters: int
    flops: int
    dense_flops: int
    input_shape: Sequence[int] = ()
    order: Order = "sorted"
