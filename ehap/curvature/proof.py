"""Exact scores compared with scores by plain autograd, on two images: a proof by example that guards every run.

The reference knows neither a folded BatchNorm nor patches nor eigenvectors. It differentiates the logits of the network
itself, image by image, and puts the derivatives together with the loss's Hessian in the logits. Gates are factors on
the output of a layer, or of the last BatchNorm that is part of it. Where the scores are said to be the Hessian's,
second derivatives along one direction in a channel of every layer are compared, too. The direction is the gate itself,
or a random one of the weights: the whole trace would take as many products as a channel has weights. The loss is taken
of a few random mixtures of the logits. So a proof costs the same with any number of classes, and no prediction is so
certain that every curvature would be nearly 0.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ehap.curvature.criteria import SCORES, at_gates, of_hessian
from ehap.curvature.exact import Exact
from ehap.curvature.jacobian import Jacobian
from ehap.errors import DataError, MismatchError
from ehap.graph.layers import layer_weights
from ehap.graph.reading import EXAMPLES, evaluating, output_of
from ehap.graph.tracing import copied
from ehap.settings import Trace

CHANNELS = 2
"""Number of compared channels of each layer."""
MIXTURES, SPAN = 4, 4.0
"""Number of random mixtures of the logits, and the largest spread of an image's mixtures."""
NEGLIGIBLE = 1e-6
"""Scores of a layer below this share of the largest of all layers are compared with that."""


@dataclass(frozen=True)
class _Tolerance:
    """How far apart scores may be.

    share: Tolerance as a share of the layer's largest score. floor: Tolerance as a share of the score for logits of
    curvature 1; below it, rounding decides.
    """

    share: float
    floor: float


WIDE, NARROW = _Tolerance(1e-6, 1e-12), _Tolerance(0.05, 1e-5)
"""The tolerance in float64, and the one for networks that take no float64."""


@dataclass(frozen=True)
class ScoreProof:
    """How exact scores agree with those by plain autograd.

    channels: Number of compared channels. difference: The largest one, as a share of the layer's largest score.
    """

    channels: int
    difference: float


def check_scores(model: nn.Module, images: Tensor, labels: Tensor, settings: Trace, seed: int) -> ScoreProof:
    """Raise unless exact scores of some channels of every layer, drawn by the seed, are those of plain autograd.

    Both are computed on the first two images, in float64 where the network takes it.

    Args:
        model: Any mode; it is not changed.
        images: (N, 3, H, W), normalised.
        labels: (N,) int64.
        settings: Settings of the run; the proof has its own precision, eigen_tolerance, chunks and shards.
        seed: Seed of the draw.

    Raises:
        MismatchError: A score is another one; the message names the layer.
    """
    settings = replace(settings, precision="fp32", eigen_tolerance=0.0, shards=1, micro_batch=None)
    images, labels = images[:EXAMPLES], labels[:EXAMPLES]
    try:
        wide = copied(model).double()
        return _Proof(wide, images.double(), labels, settings, seed, WIDE).check()
    except (RuntimeError, DataError) as error:  # of a network that casts, or calls an operation without float64
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return _Proof(model, images, labels, settings, seed, NARROW).check()


class _Proof:
    """The scores of a network on some images, and their values by plain autograd."""

    def __init__(
        self, model: nn.Module, images: Tensor, labels: Tensor, settings: Trace, seed: int, tolerance: _Tolerance
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._projection = _projection(model, images, generator)
        labels = labels % len(self._projection)
        exact = Exact(model, images, labels, settings, seed, trusted=True, projection=self._projection)
        for _ in exact.run():
            pass
        self._names = list(layer_weights(model))
        sizes = [len(weight) for weight in layer_weights(model).values()]
        self._scores = {
            criterion: dict(zip(self._names, rows.sum(0).to(images.device).split(sizes), strict=True))
            for criterion, rows in exact.result().rows.items()
        }
        self._model = copied(model).eval().requires_grad_(False)
        self._images, self._labels, self._settings, self._tolerance = images, labels, settings, tolerance
        self._ends = {name: self._model.get_submodule(exact.ends.get(name, name)) for name in self._names}
        self._weights = {name: _weight(self._model.get_submodule(name)) for name in self._names}
        self._gates = {name: weight.new_ones(len(images), len(weight)) for name, weight in self._weights.items()}
        self._shown = slice(None)
        of_gates = at_gates(settings.criteria)
        self._of_weights, self._of_gates = len(of_gates) < len(settings.criteria), bool(of_gates)
        self._drawn = {
            name: torch.randperm(len(weight), generator=generator, device="cpu")[:CHANNELS].to(images.device)
            for name, weight in self._weights.items()
        }
        self._directions = {
            name: torch.randn(each[0].shape, generator=generator, dtype=torch.float64, device="cpu").to(each)
            * _size(each)
            for name, each in self._weights.items()
        }

    def check(self) -> ScoreProof:
        """Compare the scores, and return the largest difference."""
        for variables, wanted in ((self._weights, self._of_weights), (self._gates, self._of_gates)):
            for variable in variables.values():
                variable.requires_grad_(wanted)
        with torch.enable_grad(), self._gated():
            jacobians = self._jacobians()
            worst = self._compared_scores(jacobians)
            if self._settings.approximate == "no":
                worst = max(worst, self._compared_curvature(jacobians))
        return ScoreProof(sum(map(len, self._drawn.values())), worst)

    @contextmanager
    def _gated(self) -> Iterator[None]:
        """Let each layer's output, its BatchNorm included, be multiplied by its gates in the block."""

        def hook(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 (a hook)
            def multiplied(module: nn.Module, _: object, output: Tensor) -> Tensor:
                gates = self._gates[name][self._shown]
                between = [1] * (output.dim() - 2)
                linear = isinstance(module, nn.Linear)
                return output * gates.view(len(gates), *((*between, -1) if linear else (-1, *between)))

            return multiplied

        ends = self._ends if self._of_gates else {}
        handles = [module.register_forward_hook(hook(name)) for name, module in ends.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _logits(self, shown: slice) -> Tensor:
        """Return the mixtures of the logits of some of the images."""
        self._shown = shown
        logits: Tensor = self._model(self._images[shown].clone())
        return logits @ self._projection.T

    def _jacobians(self) -> list[Jacobian]:
        """Return the derivatives of each image's logits in weights and gates of the drawn channels."""
        every = range(len(self._images))
        gates = self._rows(slice(None), self._gates) if self._of_gates else {}
        weights = [self._rows(slice(n, n + 1), self._weights) if self._of_weights else {} for n in every]
        probabilities = self._logits(slice(None)).detach().softmax(1)
        return [
            Jacobian(
                probabilities[n],
                {name: rows.flatten(2) for name, rows in weights[n].items()},
                {name: rows[:, n] for name, rows in gates.items()},
            )
            for n in every
        ]

    def _rows(self, shown: slice, variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the derivatives of each logit of some images in the drawn channels: by name (logits, …).

        Derivatives in the weights are (logits, channels, …), derivatives in the gates (logits, images, channels).
        """
        logits, of_gates = self._logits(shown), variables is self._gates
        found: dict[str, list[Tensor]] = {name: [] for name in variables}
        for unit in torch.eye(logits.shape[1]).to(logits):
            each = torch.autograd.grad(
                logits, list(variables.values()), unit.expand_as(logits), retain_graph=True, materialize_grads=True
            )
            for name, gradient in zip(variables, each, strict=True):  # no more is kept: it may be large
                drawn = self._drawn[name]
                found[name].append(gradient[:, drawn] if of_gates else gradient[drawn])
        return {name: torch.stack(rows) for name, rows in found.items()}

    def _compared_scores(self, jacobians: Sequence[Jacobian]) -> float:
        worst = 0.0
        for criterion, by_layer in self._scores.items():
            largest = max(float(each.abs().max()) for each in by_layer.values())
            for name, found in by_layer.items():
                drawn = self._drawn[name]
                values = self._weights[name].detach()[drawn].flatten(1)
                pairs = [
                    SCORES[criterion].reference(each.of_layer(name, values, label))
                    for each, label in zip(jacobians, self._labels.tolist(), strict=True)
                ]
                wanted = torch.stack([score for score, _ in pairs]).mean(0)
                floor = float(torch.stack([most for _, most in pairs]).mean(0).max())
                scale = max(float(found.abs().max()), NEGLIGIBLE * largest)
                difference = float((found[drawn] - wanted).abs().max())
                worst = max(worst, self._share(difference, scale, floor, f"{name}: the score {criterion}"))
        return worst

    def _compared_curvature(self, jacobians: Sequence[Jacobian]) -> float:
        """Compare second derivatives of the first image's loss with their values from first derivatives."""
        worst = 0.0
        if self._of_weights:
            lines = {name: torch.zeros_like(weight) for name, weight in self._weights.items()}
            for name, line in lines.items():
                line[self._drawn[name][0]] = self._directions[name]
            wanted = {name: jacobians[0].along_weights(name, self._directions[name]) for name in lines}
            worst = self._compared_along("weights", self._weights, lines, wanted)
        if at_gates(of_hessian(self._settings.criteria)):
            lines = {name: torch.zeros_like(gates) for name, gates in self._gates.items()}
            for name, line in lines.items():
                line[0, self._drawn[name][0]] = 1
            wanted = {name: jacobians[0].along_gates(name) for name in lines}
            worst = max(worst, self._compared_along("gates", self._gates, lines, wanted))
        return worst

    def _compared_along(
        self,
        what: str,
        variables: Mapping[str, Tensor],
        lines: Mapping[str, Tensor],
        wanted: Mapping[str, tuple[float, float]],
    ) -> float:
        """Compare second derivatives along one line in each layer's variables.

        Args:
            what: The variables, in a word.
            variables: Layer name to weights or gates.
            lines: Layer name to a direction of their shape.
            wanted: Layer name to the curvature along it, and that of logits of curvature 1.
        """
        loss = cross_entropy(self._logits(slice(0, 1)), self._labels[:1])
        slopes = torch.autograd.grad(loss, list(variables.values()), create_graph=True, materialize_grads=True)
        worst, largest = 0.0, max(curvature for curvature, _ in wanted.values())
        for (name, variable), slope in zip(variables.items(), slopes, strict=True):
            line, (curvature, floor) = lines[name], wanted[name]
            found = float((_derivative((slope * line).sum(), variable) * line).sum())
            scale = max(abs(found), curvature, NEGLIGIBLE * largest)
            place = f"{name}: the curvature of its {what}"
            worst = max(worst, self._share(abs(found - curvature), scale, floor, place))
        return worst

    def _share(self, difference: float, scale: float, floor: float, what: str) -> float:
        """Return a difference as a share of a scale, if it is small, or below rounding errors."""
        if not scale > 0:
            scale = floor
        if not difference <= max(self._tolerance.share * scale, self._tolerance.floor * floor):
            raise MismatchError(
                f"{what} by exact derivatives is not that by plain autograd: off by {difference / scale:.2g} of the "
                f"layer's largest, at most {self._tolerance.share:g} is allowed. A layer may be used elsewhere, too, "
                "or compute something else than its module says; take estimator hutchinson, and tell us."
            )
        return difference / scale if scale > 0 else difference


@torch.no_grad()
def _projection(model: nn.Module, images: Tensor, generator: torch.Generator) -> Tensor:
    """Return (Q, K): random mixtures of the logits, or the logits themselves where they are few, within a span."""
    with evaluating(model):
        logits = output_of(model, images)
    classes = logits.shape[1]
    mixing = torch.eye(classes)
    if classes > MIXTURES:
        mixing = torch.randn(MIXTURES, classes, generator=generator, device="cpu")
    mixing = mixing.to(logits)
    mixtures = logits @ mixing.T
    return mixing / max(1.0, float((mixtures.amax(1) - mixtures.amin(1)).max()) / SPAN)


def _size(weight: Tensor) -> Tensor:
    """Return the root of the mean square of weights; 1 where all are 0."""
    found = weight.square().mean().sqrt()
    return torch.where(found > 0, found, 1.0)


def _derivative(value: Tensor, variable: Tensor) -> Tensor:
    """Return the derivatives of a scalar; zeros where it does not depend on the variable."""
    if not value.requires_grad:
        return torch.zeros_like(variable)
    found: Tensor = torch.autograd.grad(value, variable, retain_graph=True, materialize_grads=True)[0]
    return found


def _weight(module: nn.Module) -> Tensor:
    assert isinstance(module.weight, Tensor)
    return module.weight
