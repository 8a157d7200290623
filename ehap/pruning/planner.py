"""From scores and a budget to the channels that stay."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median_low

import numpy
from torch import Tensor, nn

from ehap.errors import ArchitectureError, ArgumentError, PlanError
from ehap.graph import check_reading, example_images
from ehap.graph.channels import Kept, channel_graph
from ehap.graph.counting import Counter, Size
from ehap.graph.layers import layer_weights
from ehap.pruning.limits import least, reasons, rounded, whole_part
from ehap.pruning.padding import layout
from ehap.pruning.plan import PruningPlan
from ehap.pruning.published import as_published
from ehap.pruning.scores import checked_scores, lamp
from ehap.settings.budget import Budget, Limits, Ranking

MOST_TILT, TILT_STEP = 1.0, 2.0**-8  # a score by parameters and one by FLOPs differ by the power 1
LIMITS, RANKING = Limits(), Ranking()
PADDED = 16
"""Multiple of widths that engines' integer kernels like."""


@dataclass(frozen=True)
class _Unit:
    """Layers that keep the same channels: one layer, or with residual "tied" all writers of a stream.

    values: The score of each channel. best_first: Channels in the order in which they are worth keeping.
    floor, most: The least and the most channels that stay; fewer than all where an earlier round has taken some.
    """

    layers: tuple[str, ...]
    values: Sequence[float]
    best_first: Sequence[int]
    floor: int
    most: int


@dataclass(frozen=True)
class _Settings:
    """What a plan is made by."""

    budget: Budget
    limits: Limits
    ranking: Ranking


class Planner:
    """Plan the pruning of one network, for any scores and settings.

    Args:
        model: The dense network; not changed.
        input_shape: (C, H, W) of an image.
        example: Images (N, C, H, W), in the network's type and on its device, on which the traced
            graph is compared with the network; random ones where left out.

    Raises:
        ArchitectureError: The network has an operation that pruning does not know.
        MismatchError: The traced graph and the network give different outputs.
        PlanError, DataError, NumericsError: The network cannot take such images, or gives NaN or Inf.

    Attributes:
        reading: The agreement of the network and its traced graph.
    """

    def __init__(self, model: nn.Module, input_shape: tuple[int, int, int], example: Tensor | None = None) -> None:
        self._graph, self._shape, self._layers = channel_graph(model), input_shape, set(layer_weights(model))
        self._count = Counter(model, self._graph, input_shape)
        self.reading = check_reading(model, example_images(model, input_shape) if example is None else example)
        self._dense = self._count({layer: range(width) for layer, width in self._graph.widths().items()})

    def __call__(
        self,
        scores: Mapping[str, Tensor],
        budget: Budget,
        limits: Limits = LIMITS,
        ranking: Ranking = RANKING,
        before: Kept | None = None,
    ) -> PruningPlan:
        """Return the plan of this network; see ``plan``.

        Args:
            scores: Layer name to (C_out,).
            budget: How much is kept.
            limits: What each layer keeps.
            ranking: The order in which channels are removed.
            before: Channels that an earlier round has kept; others are removed, whatever their scores.

        Raises:
            PlanError, NumericsError: As ``plan``.
        """
        kept = self.kept(scores, budget, limits, ranking, before)
        size, widths = self._count(kept), self._graph.widths()
        padded = self._padded(kept)
        return PruningPlan(
            kept=kept,
            widths=widths,
            parameters=size.parameters,
            dense_parameters=self._dense.parameters,
            flops=size.flops,
            dense_flops=self._dense.flops,
            input_shape=self._shape,
            order="set" if ranking.rule == "as_published" else "sorted",
            reasons=reasons(self._graph, kept, limits, ranking),
            sizes={layer: [each.parameters, each.flops] for layer, each in self._count.by_layer(kept).items()},
            padded_to=PADDED if padded else 0,
            padded_parameters=padded.parameters if padded else 0,
            padded_flops=padded.flops if padded else 0,
        )

    def _padded(self, kept: Kept) -> Size | None:
        """Return the size in an engine without unions; None where the network has no form without them."""
        try:
            return self._count.of_widths(layout(self._graph, kept, PADDED).widths)
        except ArchitectureError:
            return None

    def kept(
        self,
        scores: Mapping[str, Tensor],
        budget: Budget,
        limits: Limits = LIMITS,
        ranking: Ranking = RANKING,
        before: Kept | None = None,
    ) -> dict[str, list[int]]:
        """Return the kept channels of the plan alone: quicker, for many plans. Arguments and errors as for a call."""
        if isinstance(budget, (Limits, Ranking)):  # Prune is all three: its limits would be lost without a word
            raise ArgumentError("expected a Budget alone, got all settings of pruning; give *settings.parts.")
        if ranking.residual == "tied" and any(step.kind == "union" for step in self._graph.steps):
            raise PlanError(
                "residual tied: this network is pruned already, and writers of its streams carry different channels; "
                "take residual union."
            )
        settings = _Settings(budget, limits, ranking)
        values = checked_scores(scores, self._graph.widths(), self._layers)
        if ranking.rule == "as_published":
            return as_published(self._graph, values, budget, limits, ranking)
        units = self._units(values, settings, before)
        return (self._filled if budget.fill == "both" else self._planned)(units, settings)

    def _units(self, values: Mapping[str, Sequence[float]], settings: _Settings, before: Kept | None) -> list[_Unit]:
        final = self._graph.unpruned()
        groups = self._graph.tied() if settings.ranking.residual == "tied" else [(layer,) for layer in values]
        units = []
        for group in groups:
            sums = [math.fsum(items) for items in zip(*(values[layer] for layer in group), strict=True)]
            gone = set(range(len(sums))) - set(before[group[0]]) if before else set()
            sums = [-math.inf if index in gone else value for index, value in enumerate(sums)]
            if settings.ranking.balance == "lamp":
                sums = lamp(sums)
            best_first = [index for _, index in sorted(zip(sums, range(len(sums)), strict=True), reverse=True)]
            fewest = least(len(sums), settings.limits)
            most = len(sums) - len(gone)
            floor = len(sums) if set(group) & set(final) else min(fewest, most)
            units.append(_Unit(group, sums, best_first, floor, most))
        return units

    def _filled(self, units: Sequence[_Unit], settings: _Settings) -> dict[str, list[int]]:
        """Return the kept channels when both budgets are nearly used up by a power of the maps' positions.

        Removing channels of large maps saves more FLOPs at the same parameters. The power is searched by bisection. The
        candidates are the plans at both ends of the last interval and the plan without a power. The plan that uses its
        budgets best is returned.
        """
        plain = self._planned(units, settings)
        alone = replace(settings, budget=Budget(params=settings.budget.params))
        low, high = -MOST_TILT, MOST_TILT
        while high - low > TILT_STEP:
            middle = (low + high) / 2
            if self._within(self._count(self._planned(self._tilted(units, middle), alone)), settings):
                high = middle
            else:
                low = middle
        plans = [plain, *(self._planned(self._tilted(units, tilt), settings) for tilt in (high, low))]
        return max(plans, key=lambda kept: self._used(self._count(kept), settings))

    def _tilted(self, units: Sequence[_Unit], tilt: float) -> list[_Unit]:
        """Return the units with scores divided by a power of the positions of their maps; negative ones multiplied."""
        found = []
        for unit in units:
            # Writers of one stream have one map, but for a pooling between them.
            factor = median_low(self._count.places[layer] for layer in unit.layers) ** tilt
            values = [value / factor if value >= 0 else value * factor for value in unit.values]
            found.append(replace(unit, values=values))
        return found

    def _used(self, size: Size, settings: _Settings) -> float:
        """Return the smaller of the used shares of two budgets."""
        assert settings.budget.params is not None  # see Budget
        assert settings.budget.flops is not None
        parameters = size.parameters / (settings.budget.params * self._dense.parameters)
        return min(parameters, size.flops / (settings.budget.flops * self._dense.flops))

    def _planned(self, units: Sequence[_Unit], settings: _Settings) -> dict[str, list[int]]:
        owners = numpy.repeat(numpy.arange(len(units)), [len(unit.values) for unit in units])
        order = numpy.argsort(numpy.concatenate([unit.values for unit in units]), kind="stable")  # ties: layer, index
        ranked = owners[order]

        def kept(removed: int) -> dict[str, list[int]]:
            """Return the kept channels when the lowest ``removed`` of the ranking go, within the limits."""
            losses = numpy.bincount(ranked[:removed], minlength=len(units))
            found: dict[str, list[int]] = {}
            for unit, loss in zip(units, losses, strict=True):
                count = max(unit.floor, len(unit.values) - int(loss))
                count = min(unit.most, rounded(count, settings.limits))
                found |= dict.fromkeys(unit.layers, sorted(unit.best_first[:count]))
            return {layer: found[layer] for layer in self._graph.widths()}

        if settings.budget.prune_ratio is not None:
            return kept(whole_part(settings.budget.prune_ratio * len(ranked)))
        self._check_reachable(self._count(kept(len(ranked))), settings)
        low, high = 0, len(ranked)  # both sizes fall with the number removed
        while low < high:
            middle = (low + high) // 2
            if self._within(self._count(kept(middle)), settings):
                high = middle
            else:
                low = middle + 1
        return kept(low)

    def _within(self, size: Size, settings: _Settings) -> bool:
        return all(
            share is None or found <= whole_part(share * dense)
            for share, found, dense in (
                (settings.budget.params, size.parameters, self._dense.parameters),
                (settings.budget.flops, size.flops, self._dense.flops),
            )
        )

    def _check_reachable(self, smallest: Size, settings: _Settings) -> None:
        if self._within(smallest, settings):
            return
        found = {
            name: f"{name} {share:g} asks for at most {whole_part(share * dense)} of {dense}, but the limits of "
            f"each layer leave at least {found} ({math.ceil(1e4 * found / dense) / 1e4:.4f})"
            for share, name, found, dense in (
                (settings.budget.params, "params", smallest.parameters, self._dense.parameters),
                (settings.budget.flops, "flops", smallest.flops, self._dense.flops),
            )
            if share is not None and found > whole_part(share * dense)
        }
        whole = list(self._graph.unpruned()) if self._graph.grouped else []
        raise PlanError(
            f"expected a budget that can be met: {'; '.join(found.values())}; raise {' and '.join(found)} or "
            "prune_ratio_limit, or lower min_channels or round_to."
            + (f" All channels stay of {', '.join(whole[:4])}: outputs, or of convolutions in groups." if whole else "")
        )


def plan(
    model: nn.Module,
    scores: Mapping[str, Tensor],
    input_shape: tuple[int, int, int],
    budget: Budget,
    limits: Limits = LIMITS,
    ranking: Ranking = RANKING,
    example: Tensor | None = None,
) -> PruningPlan:
    """Choose the channels to keep from one global ranking of all channels.

    The lowest channels of the ranking are removed: floor(prune_ratio · N) of N, or, for a budget, the fewest that bring
    parameters and FLOPs to at most the wanted shares of the original. A layer always keeps its
    max(min_channels, C − floor(prune_ratio_limit · C)) best channels, and the final layer all its rows; these count in
    the ranking but are never removed. Ties break by layer order, then by channel index. With residual "tied" all
    writers of a stream count as one layer, whose scores are the sums of theirs. With fill "both" scores are first
    divided by a power of the positions of their layer's map; negative scores are multiplied, and a linear layer has one
    position. The power is searched so that neither budget has room left while the other is used up.

    Args:
        model: The dense network.
        scores: Layer name to (C_out,), one entry for each convolution and linear layer.
        input_shape: (C, H, W) of an image, on which FLOPs depend.
        budget: How much is kept.
        limits: What each layer keeps.
        ranking: The order in which channels are removed.
        example: See Planner.

    Raises:
        PlanError: Scores are missing, of a wrong shape or of another network, the limits forbid the budget, or residual
            is "tied" and the network is pruned already.
        NumericsError: A score is NaN or infinite.
        ArchitectureError, MismatchError, DataError: As Planner.
    """
    return Planner(model, input_shape, example)(scores, budget, limits, ranking)
