"""Settings of the trace stage: one named curvature."""

from dataclasses import dataclass
from typing import Literal

from ehap.errors import SettingsError
from ehap.settings.build import unknown
from ehap.settings.checks import Precision, at_least, positive, share
from ehap.settings.criteria import CRITERIA, FROM_CURVATURE

MOST_CONFIDENCE = 0.99


@dataclass(frozen=True, kw_only=True)
class Until:
    """Condition to stop sampling: the channels that the plan keeps hardly change any more.

    params: Share of the parameters that the plan keeps.
    overlap: Wanted Jaccard overlap between the kept channels and those of a resampled estimate.
    confidence: Share of the resampled estimates that must reach this overlap.
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

    batch_size: Images of the Hessian batch: training images without augmentation.
    estimator: hutchinson = random ±1 vectors (Algorithms 1 and 2 of the paper). exact = first derivatives of every
        image, without randomness.
    precision: fp32, or autocast to fp16 or bf16. FP16 is about 80 times slower on a CPU and refused there; see
        allow_cpu_fp16.
    criteria: Scores that exact computes in one pass, from the table [criteria](#criteria); hutchinson has trace only.
    samples: Number of random vectors of hutchinson. The standard error falls as 1/√samples. With ``until`` this is the
        largest number.
    scale: Factor on the gradients before the second backward pass (the paper's 2⁸); each sample is divided by it. It
        keeps FP16 from underflow and overflow. dynamic = the factor follows the samples. A sample that is not finite
        is repeated with the same vectors at a lower factor (the paper's future work).
    micro_batch: Images per pass; null leaves the choice to the estimator. Each micro-batch draws its own vectors.
    eigen_tolerance: For exact: share of the eigenvalues of the loss's Hessian in the logits that one random sketch per
        image may stand for; 0 leaves nothing to it. This saves time with many classes.
    approximate: gauss-newton = exact computes Gauss–Newton traces also where they differ from the Hessian's: with
        smooth activations, weights used twice, or products of activations.
    until: hutchinson stops as soon as the plan is stable: ``{params: 0.1, overlap: 0.98, confidence: 0.95}``.
    as_published: hutchinson as in the published code: the scale falls by 2⁸ with every sample, samples are not divided
        by it, and the Hessian batch is the last, partial one.
    shards: Jobs that share the work. The merged traces equal those of one job bit for bit (with a dynamic scale, up to
        the rounding of FP16).
    allow_cpu_fp16: true = FP16 may run on a CPU. Otherwise such a run stops before any job starts.
    """

    batch_size: int
    estimator: Literal["hutchinson", "exact"] = "hutchinson"
    precision: Precision = "fp32"
    criteria: tuple[str, ...] = ("trace",)
    samples: int = 300
    scale: float | Literal["dynamic"] = 1.0
    micro_batch: int | None = None
    eigen_tolerance: float = 0.0
    approximate: Literal["no", "gauss-newton"] = "no"
    until: Until | None = None
    as_published: bool = False
    shards: int = 1
    allow_cpu_fp16: bool = False

    def __post_init__(self) -> None:
        at_least("batch_size", self.batch_size, 1)
        at_least("samples", self.samples, 1)
        if self.scale != "dynamic":
            positive("scale", self.scale)
        at_least("micro_batch", self.micro_batch, 1)
        share("eigen_tolerance", self.eigen_tolerance, zero=True, one=False)
        at_least("shards", self.shards, 1)
        if self.estimator == "exact" and (self.until or self.as_published or self.scale == "dynamic"):
            raise SettingsError("estimator exact has no samples; leave out until, as_published and scale dynamic.")
        if self.scale != 1 and (self.estimator == "exact" or self.as_published):
            raise SettingsError("scale is a setting of plain hutchinson; leave it out with exact or as_published.")
        self._check_criteria()
        if self.until and self.shards > 1:
            raise SettingsError("until needs all samples in one job; leave out shards.")
        if self.as_published and (self.scale == "dynamic" or self.until):
            raise SettingsError("as_published has its own scale and number of samples; leave out dynamic and until.")

    def _check_criteria(self) -> None:
        for name in self.criteria:
            if name in CRITERIA and name not in FROM_CURVATURE:
                raise SettingsError(
                    f"criteria: {name} needs no derivatives; name it in a method without a curvature, or call its "
                    "function in ehap.pruning."
                )
            if name not in FROM_CURVATURE:
                raise unknown("criteria", name, FROM_CURVATURE, "criterion from a curvature")
        if not self.criteria or len(set(self.criteria)) < len(self.criteria):
            raise SettingsError(f"criteria: expected at least one, each once, got {list(self.criteria)}.")
        if self.estimator == "hutchinson" and self.criteria != ("trace",):
            raise SettingsError(
                f"criteria: hutchinson computes trace only, got {list(self.criteria)}; use estimator exact."
            )
