"""When traces are good enough: the planner that settings.until asks.

Kept apart from ``trace``: traces without ``until`` do not depend on the planner, so an edit there does not rerun them.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from ehap.pruning import Planner, layer_weights, sensitivity
from ehap.curvature.traces import Planner
from ehap.models import INPUT_SHAPE
from ehap.settings import Prune, Trace
from ehap.stages.trace import PlannerOf


def planner_of(settings: Trace) -> PlannerOf:
    """Return the function from a network to the function from its traces to the channels that would be kept."""
    assert settings.until is not None
    budget = Prune(criterion="trace", params=settings.until.params)

    def for_network(network: nn.Module) -> Planner:
        weights = {name: weight.cpu() for name, weight in layer_weights(network).items()}
        planner = Planner(network, INPUT_SHAPE)

        def planned(traces: Mapping[str, Tensor]) -> Mapping[str, list[int]]:
            by_layer = {name.removesuffix(".weight"): value for name, value in traces.items()}
            return planner(sensitivity(by_layer, weights), budget).kept

        return planned

    return for_network
