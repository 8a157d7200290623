"""Settings of the trace stage: one named curvature."""

from dataclasses import dataclass
from typing import Literal, get_args

from ehap.errors import SettingsError
from ehap.settings.checks import Precision, at_least, positive, share

Curvature = Literal["trace", "diagonal", "block", "gate", "fisher", "taylor"]
"""What the derivatives on a Hessian batch say of a channel: see ``Trace.criteria``."""

MOST_CONFIDENCE = 0.99


@dataclass(frozen=True, kw_only=True)
class Until:
    """When an estimate is good enough: when the channels that would be kept hardly change any more.

    params: Share of the parameters that the plan keeps.
    overlap: Wanted Jaccard overlap between the kept channels and those of a resampled estimate.
    confidence: Share of the resampled estimates that reach it.
    """

    params: float
    overlap: float = 0.98
    confidence: float = 0.95

    def __post_init__(self) -> None:
        share("params", self.params, zero=False, one=False)
        share("overlap", self.overlap, zero=False, one=True)
        share("confidence", self.confidence, zero=False, one=False)
        if self.confidence > MOST_CONFIDENCE:
            raise SettingsError(
                f"confidence must be at most {MOST_CONFIDENCE}, got {self.confidence}: it is found by resampling."
            )


@dataclass(frozen=True, kw_only=True)
class Trace:
    """How channel traces of the Hessian are computed.

    batch_size: Un-augmented training images of the Hessian batch.
    estimator: hutchinson = random ±1 vectors (Algorithms 1 and 2 of the paper); exact = first derivatives of every
        image, no randomness.
    precision: fp32, or autocast to fp16 or bf16. FP16 is some 80 times slower on a CPU and refused there, see slow.
    criteria: What exact computes in its one pass; hutchinson has the trace only. Of a channel with weights w_c and
        Hessian block H_cc, whose output (its BatchNorm included) is multiplied by a gate g_c = 1: trace = of H_cc;
        diagonal = ½ Σ_i H_ii w_i²; block = ½ w_cᵀ H_cc w_c; gate = ½ ∂²L/∂g_c²; fisher = ½ mean_n (∂l_n/∂g_c)², the
        gate's empirical Fisher information; taylor = mean_n |∂l_n/∂g_c|, first order (Molchanov et al. 2017,
        arXiv:1611.06440).
    samples: Random vectors of hutchinson; the standard error falls as 1/√samples. With ``until``, at most so many.
    scale: The gradients are multiplied by it before the second backward pass and each sample is divided by it
        (the paper's 2⁸), so that FP16 neither underflows nor overflows. dynamic: it follows the samples; one that is
        not finite is repeated with the same vectors at a lower scale (the paper's future work).
    micro_batch: Images a pass; null leaves the choice to the estimator. Each micro-batch draws its own vectors.
    eigen_tolerance: For exact: the share of the eigenvalues of the loss's Hessian in the logits that may be left to
        one random sketch for each image; 0 leaves nothing. Saves time where there are many classes.
    approximate: gauss-newton lets exact compute the Gauss–Newton traces of a network where they are not the
        Hessian's (smooth activations, weights used twice, products of activations).
    until: hutchinson stops as soon as the plan is stable: ``{params: 0.1, overlap: 0.98, confidence: 0.95}``.
    as_published: hutchinson as the published code computes it: the scale falls by 2⁸ with every sample, which is not
        divided by it, and the Hessian batch is the last, partial one.
    shards: Jobs that share the work; the merged traces are those of one job, bit for bit (with a dynamic scale, to
        FP16's rounding).
    slow: accept lets FP16 run on a CPU; otherwise a run with it stops there before any job starts.
    """

    batch_size: int
    estimator: Literal["hutchinson", "exact"] = "hutchinson"
    precision: Precision = "fp32"
    criteria: tuple[Curvature, ...] = ("trace",)
    samples: int = 300
    scale: float | Literal["dynamic"] = 1.0
    micro_batch: int | None = None
    eigen_tolerance: float = 0.0
    approximate: Literal["no", "gauss-newton"] = "no"
    until: Until | None = None
    as_published: bool = False
    shards: int = 1
    slow: Literal["refuse", "accept"] = "refuse"

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("samples", self.samples, 1)
        if self.scale != "dynamic":
            positive("scale", self.scale)
        at_least("micro_batch", self.micro_batch, 1)
        share("eigen_tolerance", self.eigen_tolerance, zero=True, one=False)
        at_least("shards", self.shards, 1)
        if self.estimator == "exact" and (self.until or self.as_published or self.scale == "dynamic"):
            raise SettingsError("estimator exact has no samples: until, as_published and scale dynamic do not apply.")
        if self.scale != 1 and (self.estimator == "exact" or self.as_published):
            raise SettingsError(
                "scale is for hutchinson with samples of one scale; exact and as_published have their own."
            )
        unknown = [name for name in self.criteria if name not in get_args(Curvature)]
        if unknown:
            raise SettingsError(
                f"criteria: expected some of {', '.join(get_args(Curvature))}, got {unknown[0]!r}; scores that need no "
                "derivatives are functions of ehap.pruning: magnitude, bn_scale, random_scores."
            )
        if not self.criteria or len(set(self.criteria)) < len(self.criteria):
            raise SettingsError(f"criteria: expected at least one, each once, got {list(self.criteria)}.")
        if self.estimator == "hutchinson" and self.criteria != ("trace",):
            raise SettingsError(f"criteria: hutchinson has the trace only, got {list(self.criteria)}; take exact.")
        if self.until and self.shards > 1:
            raise SettingsError("until needs all samples in one job, got shards above 1.")
        if self.as_published and (self.scale == "dynamic" or self.until):
            raise SettingsError("as_published has its own scale and number of samples: leave out dynamic and until.")
