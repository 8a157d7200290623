"""Edits, kills, pulls and runs in any order: in the end all is as if run from nothing.

``python -m tests.workflow.random_runs 200`` draws so many sequences.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.workflow.random_runs.ground import Ground
from tests.workflow.random_runs.operations import Operation, sequence

pytestmark = pytest.mark.minutes

FOUND: dict[str, list[Operation]] = {
    "records that do not hold what was written, and compiled code of an equal time": [
        ("damage", "trace", 1),
        ("damage", "shapes", 1),
        ("edit", "code evaluate", 1, "equal"),
    ],
    "a failed job whose outputs of other settings were deleted": [
        ("flip", "finetune"),
        ("fails", "finetune/random", "start"),
    ],
    "what follows from a wrong result, and a job that outlives its Snakemake": [
        ("flip", "weights"),
        ("look",),
        ("killed", "finetune/hap", "read", "snakemake"),
        ("push",),
    ],
}
"""What an earlier version had wrong."""


@st.composite
def sequences(draw: Callable) -> list[Operation]:
    return sequence(lambda low, high: draw(st.integers(low, high)), longest=4)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(Path(tmp_path_factory.mktemp("ground")))


@pytest.mark.parametrize("operations", FOUND.values(), ids=FOUND)
def test_what_was_wrong_once_is_right(ground: Ground, operations: list[Operation]) -> None:
    verdict, _ = ground.outcome(operations)
    assert not verdict, verdict


@settings(
    max_examples=3,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(operations=sequences())
def test_whatever_happens_the_last_run_ends_as_one_from_nothing(ground: Ground, operations: list[Operation]) -> None:
    verdict, _ = ground.outcome(operations)
    assert not verdict, f"{verdict}\n{operations}"
