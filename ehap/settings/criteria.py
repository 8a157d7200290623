"""The criteria for ranking channels: name, need and text of each."""

from dataclasses import dataclass
from typing import Literal

from ehap.settings.build import unknown
from ehap.settings.own_criterion import is_own, named


@dataclass(frozen=True)
class Criterion:
    """A criterion of ``ehap``.

    needs: curvature = derivatives on a Hessian batch, which the trace stage computes; weights = the dense network
        alone; seed = the seed of the cell. text: One sentence for config/SETTINGS.md.
    """

    needs: Literal["curvature", "weights", "seed"]
    text: str


CRITERIA = {
    "trace": Criterion("curvature", "Trace of H_cc; channels rank by the paper's sensitivity, trace / (2·p) · ‖w_c‖²."),
    "diagonal": Criterion("curvature", "½ Σ_i H_ii w_i²."),
    "block": Criterion("curvature", "½ w_cᵀ H_cc w_c."),
    "gate": Criterion("curvature", "½ ∂²L/∂g_c²."),
    "fisher": Criterion("curvature", "½ mean_n (∂l_n/∂g_c)², the empirical Fisher information of the gate."),
    "taylor": Criterion("curvature", "mean_n |∂l_n/∂g_c|, first order (Molchanov et al. 2017, arXiv:1611.06440)."),
    "magnitude": Criterion("weights", "Mean squared weight."),
    "bn-scale": Criterion(
        "weights",
        "|γ| of the BatchNorm behind the channel (network slimming, Liu et al. 2017, arXiv:1708.06519).",
    ),
    "random": Criterion("seed", "A uniform draw."),
}
"""Each has its function in ``ehap.curvature.criteria`` or ``ehap.pruning.criteria``; a test compares."""
FROM_CURVATURE = tuple(name for name, each in CRITERIA.items() if each.needs == "curvature")
NOTATION = (
    "A channel c has the weights w_c, p of them, and the Hessian block H_cc. Its output, BatchNorm included, is "
    "multiplied by a gate g_c = 1. l_n is the loss of image n, L the mean loss."
)


def check_criterion(name: str) -> None:
    """Raise SettingsError unless a name is that of a criterion, or has the form of a function of the user's."""
    if is_own(name):
        named(name)
    elif name not in CRITERIA:
        raise unknown("criterion", name, (*CRITERIA, "package.module:function"), "criterion")
