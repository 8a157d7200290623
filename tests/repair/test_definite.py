"""Whether a system is solved or refused follows from its condition, in whatever units and on whatever processor."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ehap.repair.definite import _smallest_eigenvalues, solve_definite
from ehap.repair.least_squares import Fitter

SINGLE, DOUBLE = torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps


def _system(smallest: float, groups: int = 2, unknowns: int = 40) -> tuple[Tensor, Tensor]:
    """Return matrices whose eigenvalues lie between ``smallest`` and 1, with right sides."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(groups, unknowns, unknowns, generator=generator, dtype=torch.float64)
    vectors = torch.linalg.qr(noise).Q
    values = torch.logspace(torch.tensor(smallest).log10().item(), 0, unknowns, dtype=torch.float64)
    matrix = vectors @ torch.diag(values) @ vectors.mT
    return (matrix + matrix.mT) / 2, torch.randn(groups, unknowns, 3, generator=generator, dtype=torch.float64)


def _solved(matrix: Tensor, added: Tensor | float, right: Tensor, precision: float) -> Tensor | None:
    added = torch.as_tensor(added, dtype=torch.float64).expand(matrix.shape[:2])
    return solve_definite(matrix.clone(), added, right, precision)


def test_what_is_solved_is_the_solution() -> None:
    matrix, right = _system(1e-3)
    found = _solved(matrix, 0.1, right, SINGLE)
    assert found is not None
    expected = torch.linalg.solve(matrix + 0.1 * torch.eye(40, dtype=torch.float64), right)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("precision", "well", "ill"), [(SINGLE, 1e-3, 1e-9), (DOUBLE, 1e-9, 1e-17)])
def test_the_limit_follows_from_the_precision_of_the_products(precision: float, well: float, ill: float) -> None:
    matrix, right = _system(well)
    assert _solved(matrix, 0.0, right, precision) is not None
    matrix, right = _system(ill)
    assert _solved(matrix, 0.0, right, precision) is None
    assert _solved(matrix, 0.1, right, precision) is not None  # as a ridge does


def test_one_group_that_is_nearly_singular_is_enough() -> None:
    (good, right), (bad, _) = _system(1e-3), _system(1e-9)
    assert _solved(torch.stack([good[0], bad[1]]), 0.0, right, SINGLE) is None


def test_units_of_the_unknowns_do_not_count() -> None:
    generator = torch.Generator().manual_seed(1)
    units = 10 ** torch.empty(40, dtype=torch.float64).uniform_(-8, 8, generator=generator)
    matrix, right = _system(1e-3)
    plain = _solved(matrix, 0.0, right, SINGLE)
    scaled = _solved(units[:, None] * matrix * units, 0.0, units[:, None] * right, SINGLE)
    assert plain is not None
    assert scaled is not None
    torch.testing.assert_close(units[:, None] * scaled, plain, rtol=1e-6, atol=1e-8)
    matrix, right = _system(1e-9)
    assert _solved(units[:, None] * matrix * units, 0.0, units[:, None] * right, SINGLE) is None


@pytest.mark.parametrize("unknowns", [2, 3, 28, 37, 100])
def test_a_singular_matrix_is_seen_though_rounding_may_hide_it(unknowns: int) -> None:
    ones = torch.ones(1, unknowns, unknowns, dtype=torch.float64)
    right = torch.ones(1, unknowns, 1, dtype=torch.float64)
    assert _solved(ones, 0.0, right, DOUBLE) is None
    assert _solved(ones / 3, 1e-300, right, SINGLE) is None
    rows = torch.randn(unknowns - 1, unknowns, generator=torch.Generator().manual_seed(2))
    products = (rows.T @ rows).double()[None]  # of rank unknowns − 1, but for what single precision makes of it
    assert _solved(products, 1e-12, right, SINGLE) is None
    assert _solved(products, 1.0, right, SINGLE) is not None


def test_columns_that_single_precision_cannot_tell_apart_need_double() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randn(1000, 8, generator=generator, dtype=torch.float64)
    rows[:, 7] = rows[:, 6] + 1e-4 * torch.randn(1000, generator=generator, dtype=torch.float64)
    right = torch.ones(1, 8, 1, dtype=torch.float64)
    in_single = (rows.float().T @ rows.float()).double()[None]
    assert _solved(in_single, 0.0, right, SINGLE) is None
    assert _solved((rows.T @ rows)[None], 0.0, right, DOUBLE) is not None


@pytest.mark.parametrize("smallest", [1e-1, 1e-4, 1e-10])
@pytest.mark.parametrize("unknowns", [1, 40, 300])
def test_the_smallest_eigenvalue_is_found_within_a_factor_of_two(smallest: float, unknowns: int) -> None:
    matrix, _ = _system(smallest, unknowns=unknowns)
    exact = torch.linalg.eigvalsh(matrix)[:, 0]
    found = _smallest_eigenvalues(torch.linalg.cholesky(matrix))
    assert (found > (1 - 1e-5) * exact).all()
    assert (found < 2 * exact).all()


def test_nearly_constant_inputs_are_fitted_in_float32_as_in_float64() -> None:
    """Products of such inputs cancel unless they are taken less their means."""
    torch.manual_seed(0)
    inputs = 30 + 0.02 * torch.randn(400, 60, dtype=torch.float64)
    teacher, trained = (nn.Linear(60, 4).double() for _ in range(2))
    wanted = teacher(inputs).detach()
    found = {}
    for kind in (torch.float32, torch.float64):
        layer = copy.deepcopy(trained).to(kind)
        with torch.no_grad():
            fit = Fitter(1e-5, None, seed=0)("fc", layer, None, iter([(inputs.to(kind), wanted.to(kind))]), len(inputs))
        assert fit.after < fit.before
        found[kind] = layer.weight.double()
    torch.testing.assert_close(found[torch.float32], found[torch.float64], rtol=0, atol=2e-3)
