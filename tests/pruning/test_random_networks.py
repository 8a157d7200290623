"""Random small networks: each is pruned right, or refused.

``python -m tests.pruning.random_networks 1000`` draws so many.
"""

import torch
from hypothesis import HealthCheck, Phase, assume, given, settings

from tests.pruning.random_networks.checks import check_pruning, check_pruning_twice, masked, outputs
from tests.pruning.random_networks.strategy import Case, cases

few = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@few
@given(cases(twisted=0))
def test_a_network_of_known_operations_is_pruned_and_equals_the_masked_one(case: Case) -> None:
    verdict = check_pruning(case)
    assume(verdict.kind in ("pruned", "failed", "refused", "broken"))
    assert verdict.kind == "pruned", f"{verdict.text}\n{case.network}"


@few
@given(cases(twisted=0))
def test_a_network_pruned_twice_equals_the_masked_one_and_has_a_form_of_plain_sums(case: Case) -> None:
    verdict = check_pruning_twice(case)
    tied = case.settings.residual == "tied" and "residual tied" in verdict.text  # of unions there are none to tie
    assert verdict.kind == "pruned" or tied or verdict.kind in ("whole", "blind"), f"{verdict.text}\n{case.network}"


@few
@given(cases(twisted=100))
def test_any_other_network_is_pruned_right_or_refused(case: Case) -> None:
    verdict = check_pruning(case)
    assert verdict.kind != "failed", f"{verdict.text}\n{case.network}"


@few
@given(cases(twisted=0))
def test_the_same_case_is_the_same_network(case: Case) -> None:
    images = case.network.images(2)
    one, other = (outputs(case.network.build().eval(), images) for _ in range(2))
    assert all(map(torch.equal, one, other))
    nothing = outputs(masked(case.network, {}).eval(), images)
    assert all(map(torch.equal, one, nothing))
