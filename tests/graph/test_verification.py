import pytest
import torch

from ehap.errors import MismatchError
from ehap.graph import FLOAT, INTEGER, check_agreement, tolerance_of

WANTED = torch.tensor([[1.0, -4.0, 2.0], [0.5, 3.0, 1.0]])


def test_the_largest_difference_is_a_share_of_the_largest_output() -> None:
    found = check_agreement(WANTED + torch.tensor([[0, 0.04, 0], [0, 0, 0]]), WANTED, INTEGER, "both")
    assert found.difference == pytest.approx(0.01)
    assert (found.mismatches, found.images) == (0, 2)


def test_another_arg_max_within_the_tolerance_is_counted() -> None:
    close = torch.tensor([[1.0, 1.001], [0.0, 1.0]])
    found = check_agreement(torch.tensor([[1.002, 1.001], [0.0, 1.0]]), close, INTEGER, "both")
    assert found.mismatches == 1


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (WANTED + 0.1, r"this and that give different outputs: off by 0\.025 of the largest output, at most 0\.0001"),
        (WANTED[:, :2], r"expected outputs of one shape, got \(2, 2\) and \(2, 3\)"),
        (WANTED * float("nan"), "different outputs: off by nan"),
        (WANTED + float("inf"), "different outputs: off by inf"),
    ],
)
def test_what_differs_is_refused_with_an_advice(found: torch.Tensor, message: str) -> None:
    with pytest.raises(MismatchError, match=f"{message}.* Do this."):
        check_agreement(found, WANTED, FLOAT, "this and that", "Do this.")


def test_half_precision_has_a_wider_tolerance() -> None:
    assert tolerance_of(WANTED) == tolerance_of(WANTED.double()) == FLOAT
    assert tolerance_of(WANTED.half()) == tolerance_of(WANTED.bfloat16()) > FLOAT
