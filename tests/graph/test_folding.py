import copy

import pytest
import torch
from torch import Tensor, nn

from ehap.graph.folding import fold_norms, fuse_norms, keep_norms


class _Overwriting(nn.Module):
    """A sum that is written over its first side, which is read afterwards under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.first = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.two, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.one(x))
        same = x
        x += self.second(self.two(x))
        return x + same


@pytest.mark.parametrize("merge", [fold_norms, fuse_norms, keep_norms])
def test_what_is_merged_does_what_the_network_does_where_a_sum_overwrites(merge) -> None:
    torch.manual_seed(0)
    model = _Overwriting().double()
    for norm in (model.first, model.second):
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.normal_(norm.running_mean)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    expected = copy.deepcopy(model).eval()(images)
    torch.testing.assert_close(merge(model)(images), expected)
