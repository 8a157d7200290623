"""The sum of two residual branches that carry different channels."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, one_hot


class UnionAdd(nn.Module):
    """Add two tensors that carry different channels; the sum carries their union, in sorted order.

    Args:
        left, right: Positions of each input's channels in the union, sorted; together they cover it. ``channel_graph``
            refuses others.
        width: Channels of the union.
    """

    left: Tensor
    right: Tensor
    left_matrix: Tensor | None
    right_matrix: Tensor | None

    def __init__(self, left: list[int], right: list[int], width: int) -> None:
        super().__init__()
        self.width = width
        self.whole = (len(left) == width, len(right) == width)  # then the positions are 0, 1, …: both are sorted
        self.register_buffer("left", torch.tensor(left), persistent=False)
        self.register_buffer("right", torch.tensor(right), persistent=False)
        self.register_buffer("left_matrix", None, persistent=False)
        self.register_buffer("right_matrix", None, persistent=False)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Map (N, L, H, W) and (N, R, H, W) to (N, width, H, W)."""
        left_matrix, right_matrix = self.left_matrix, self.right_matrix  # as names that torch.jit.script can follow
        if left_matrix is not None and right_matrix is not None:
            left = left if self.whole[0] else conv2d(left, left_matrix)
            return left + (right if self.whole[1] else conv2d(right, right_matrix))
        if self.whole[0]:
            return left.index_add(1, self.right, right)
        if not self.whole[1]:
            empty = right.new_zeros(right.shape[0], self.width, right.shape[2], right.shape[3])
            right = empty.index_copy(1, self.right, right)
        return right.index_add(1, self.left, left)


@contextmanager
def unions_by_matrix(model: nn.Module) -> Iterator[None]:
    """Let the unions of a pruned network move channels by 0/1 matrices, as 1×1 convolutions, in the block.

    The same sums, in the form for training in channels_last: there an index operation costs more than a convolution,
    and convolutions of odd widths have fast backward passes in no other layout. Outside the block networks keep the
    index form, which has no operation that would be counted or quantized.

    Args:
        model: The network, on its device and in its type.
    """
    adds = [module for module in model.modules() if isinstance(module, UnionAdd)]
    like = next(model.parameters())
    for add in adds:
        for name, positions in (("left_matrix", add.left), ("right_matrix", add.right)):
            matrix = one_hot(positions, add.width).T.to(like)
            setattr(add, name, matrix[:, :, None, None].contiguous(memory_format=torch.channels_last))
    try:
        yield
    finally:
        for add in adds:
            add.left_matrix = add.right_matrix = None
