"""Stage trace_until: traces until the channels that would be kept are stable, as settings.until says.

It is apart from ``trace``: an edit of the planner does not rerun traces without ``until``.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from ehap.artifacts.datasets import input_shape
from ehap.artifacts.job import Job
from ehap.curvature.traces import TracePlanner
from ehap.graph.layers import layer_weights
from ehap.pruning import Planner, sensitivity
from ehap.settings import Trace
from ehap.settings.budget import Budget
from ehap.stages.trace import PlannerOf, write_traces


def run(job: Job[Trace]) -> None:
    """Write traces and standard errors, with as many samples as a stable plan needs."""
    write_traces(job, planner_of(job.settings, input_shape(job)))


def planner_of(settings: Trace, input_shape: tuple[int, int, int]) -> PlannerOf:
    """Return a function from a network to a second one, from its traces to the channels that would be kept."""
    assert settings.until is not None
    budget = Budget(params=settings.until.params)

    def for_network(network: nn.Module) -> TracePlanner:
        weights = {name: weight.cpu() for name, weight in layer_weights(network).items()}
        planner = Planner(network, input_shape)

        def planned(traces: Mapping[str, Tensor]) -> Mapping[str, list[int]]:
            return planner.kept(sensitivity(traces, weights), budget)

        return planned

    return for_network
